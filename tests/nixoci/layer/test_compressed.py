"""Compressed layers: from a recipe to a blob, and to the same blob again, verified."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nixoci.compression.compressor import CompressorError
from nixoci.compression.formats import Compression
from nixoci.errors import InvalidInputError
from nixoci.layer.compressed import CompressedBytesError
from nixoci.layer.digest import digest_layer
from nixoci.layer.kept import digest_kept_layer, keep_layer, kept_name, write_kept_layer
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.write import write_layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.nar import nar_hash
from nixoci.store.path import StorePath

from tests.nixoci.compression.compression_support import COMPRESSIONS, decompress, words_of
from tests.nixoci.tar.tar_support import File, store_path, tar_bytes, write_store

ONE, TWO = store_path("one", "1"), store_path("two", "2")
ZSTD = Compression.create("zstd")


def true_recipe(root: Path, *paths: StorePath) -> LayerRecipe:
    entries = (RecipeEntry(path, nar_hash(f"{root}{path}"), path) for path in paths)
    return LayerRecipe(tuple(entries))


@pytest.fixture
def recipe(tmp_path: Path) -> LayerRecipe:
    """A layer of three chunks of zstd, of which most can be compressed."""
    large = words_of([1], 9_000_000) + os.urandom(1_000_000)
    write_store(str(tmp_path), {ONE: {b"large": File(large)}, TWO: File(b"small")})
    return true_recipe(tmp_path, ONE, TWO)


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: f"{c.format}-{c.level}")
def test_the_blob_is_the_tar_compressed(
    tmp_path: Path, recipe: LayerRecipe, compression: Compression
) -> None:
    """Digest and size are the blob's, diff ID and tar size the tar's; the same blob comes again."""
    root = str(tmp_path)
    layer = digest_layer(recipe, store_root=root, compression=compression)
    plain = digest_layer(recipe, store_root=root)
    assert layer.uncompressed() == plain
    assert (layer.media_type, layer.compression) == (compression.media_type, compression)
    blob = bytearray()
    assert write_layer(recipe, layer, blob.extend, store_root=root) == layer.size == len(blob)
    assert layer.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert decompress(compression, bytes(blob)) == tar_bytes(recipe, root)
    assert layer.size < plain.size * 0.7


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: f"{c.format}-{c.level}")
@pytest.mark.parametrize("kind", ["short", "long", "random"])
def test_changed_store_path_is_named(
    tmp_path: Path, recipe: LayerRecipe, compression: Compression, kind: str
) -> None:
    """As for a layer that is not compressed; and nobody gets the whole of a wrong blob."""
    root = str(tmp_path)
    content = {
        "short": b"other",
        "long": words_of([2], 20_000_000),
        "random": os.urandom(20_000_000),
    }[kind]
    layer = digest_layer(recipe, store_root=root, compression=compression)
    os.chmod(f"{root}{TWO}", 0o644)
    Path(f"{root}{TWO}").write_bytes(content)
    os.chmod(f"{root}{TWO}", 0o444)
    blob = bytearray()
    with pytest.raises(LayerMismatchError) as caught:
        write_layer(recipe, layer, blob.extend, store_root=root)
    assert caught.value.changed == (TWO,)
    assert len(blob) < layer.size


@pytest.mark.parametrize("change", [{"digest": f"sha256:{'0' * 64}"}, {"size": 9}, {"size": 1 << 30}])
def test_another_build_of_the_compressor(
    tmp_path: Path, recipe: LayerRecipe, change: dict[str, Any]
) -> None:
    """The tar is right and the blob is not: the compressor is to blame, and no store path."""
    layer = digest_layer(recipe, store_root=str(tmp_path), compression=ZSTD)
    blob = bytearray()
    with pytest.raises(CompressedBytesError, match="its tar is the same.*zstandard 0"):
        write_layer(recipe, replace(layer, **change), blob.extend, store_root=str(tmp_path))
    assert len(blob) < layer.size


def test_another_version_of_the_compressor(tmp_path: Path, recipe: LayerRecipe) -> None:
    """Nothing is sent, and the error says which version made the bytes."""
    layer = digest_layer(recipe, store_root=str(tmp_path), compression=ZSTD)
    older = replace(layer, compression=replace(ZSTD, compressor="zstandard 0.20.0 (zstd 1.5.4)"))
    blob = bytearray()
    with pytest.raises(CompressorError, match="pip install zstandard==0.20.0"):
        write_layer(recipe, older, blob.extend, store_root=str(tmp_path))
    assert not blob
    unknown = replace(layer, compression=None)
    with pytest.raises(InvalidInputError, match="nothing says how"):
        write_layer(recipe, unknown, blob.extend, store_root=str(tmp_path))


def test_kept_layers(tmp_path: Path, recipe: LayerRecipe) -> None:
    """The blob is made of the tar that is kept, and the store is not looked at."""
    root = str(tmp_path)
    directory = tmp_path / "kept"
    directory.mkdir()
    tar = keep_layer(recipe, str(directory / kept_name(recipe)), store_root=root)
    expected = digest_layer(recipe, store_root=root, compression=ZSTD)
    assert digest_kept_layer(str(directory), recipe) == tar
    layer = digest_kept_layer(str(directory), recipe, ZSTD)
    assert layer == expected
    blob, again = bytearray(), bytearray()
    write_layer(recipe, layer, blob.extend, store_root=root)
    assert write_kept_layer(str(directory), recipe, layer, again.extend) == layer.size
    assert again == blob
    assert write_kept_layer(str(tmp_path), recipe, layer, again.extend) is None
    with pytest.raises(InvalidInputError, match="no such file"):
        digest_kept_layer(str(tmp_path), recipe, ZSTD)


_PEAK = """
import resource, sys
sys.path[:0] = sys.argv[1].split(":")
from nixoci.compression import stream as compressed_stream
from nixoci.compression.formats import Compression
from nixoci.layer.digest import digest_layer
from nixoci.layer.write import write_layer
from nixoci.recipe.layer import LayerRecipe
compressed_stream.default_threads = lambda: int(sys.argv[5])
recipe = LayerRecipe.from_json(sys.argv[3].encode())
layer = digest_layer(recipe, store_root=sys.argv[2], compression=Compression.create(sys.argv[4]))
write_layer(recipe, layer, lambda part: None, store_root=sys.argv[2])
print(layer.tar_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.parametrize(
    ("name", "threads", "limit"), [("gzip", 2, 64), ("zstd", 2, 96), ("gzip", 8, 96), ("zstd", 8, 192)]
)
def test_memory_is_constant(tmp_path: Path, name: str, threads: int, limit: int) -> None:
    """A layer of 1 GB takes no more MiB than some chunks for each thread."""
    path = tmp_path / ONE[1:]
    path.parent.mkdir(parents=True)
    with open(path, "wb") as file:
        file.write(os.urandom(50_000_000))
        file.truncate(1_000_000_000)
    recipe = LayerRecipe((RecipeEntry(ONE, "sha256-unknown", ONE),))
    words = (":".join(sys.path), str(tmp_path), recipe.to_json().decode(), name, str(threads))
    # The shell between keeps this process out of the peak that the kernel reports.
    shell = ("sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-I", "-S", "-c", _PEAK, *words)
    result = subprocess.run(shell, stdout=subprocess.PIPE, text=True, check=True)
    size, peak = map(int, result.stdout.split())
    assert size > 1_000_000_000
    assert peak < limit * 1024 * 1024
