"""From a recipe to a layer and to its verified bytes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.layer.digest import digest_layer, digest_layers
from nixoci.layer.layer import MEDIA_TYPE_LAYER_TAR, Layer
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.write import write_layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.nar import nar_hash
from nixoci.store.path import StorePath
from nixoci.tar.errors import StorePathMissingError

from tests.nixoci.tar.tar_support import File, Node, recipe_of, store_path, tar_bytes, write_store

ONE = store_path("one", "1")
TWO = store_path("two", "2")


def true_recipe(store_root: Path, *paths: StorePath) -> LayerRecipe:
    """A recipe with the NAR hashes that the paths have now."""
    return LayerRecipe(
        tuple(RecipeEntry(path, nar_hash(f"{store_root}{path}"), path) for path in paths)
    )


def change(path: str, content: bytes) -> None:
    os.chmod(path, 0o644)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, 0o444)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize(
    "size",
    # Around one buffer, and around the 4 MiB after which the second process starts.
    [0, 1, 258_000, 262_144, *range(4_190_000, 4_196_000, 1024), 4_456_448, 30_000_000],
)
def test_digest_is_that_of_the_stream(tmp_path: Path, size: int, overlap: bool) -> None:
    """Digest and size are those of the bytes of `write_tar`, with and without second process."""
    write_store(str(tmp_path), {ONE: File(os.urandom(size % 65536) + bytes(size - size % 65536))})
    stream = tar_bytes(recipe_of(ONE), str(tmp_path))
    layer = digest_layer(recipe_of(ONE), store_root=str(tmp_path), overlap=overlap)
    digest = "sha256:" + hashlib.sha256(stream).hexdigest()
    assert layer == Layer(digest, len(stream), digest, MEDIA_TYPE_LAYER_TAR)


@pytest.mark.parametrize("jobs", [1, 2, 3, 100])
def test_layers_come_in_the_order_of_their_recipes(tmp_path: Path, jobs: int) -> None:
    """Neither the number of processes nor the weights change result or order."""
    paths = [store_path(f"path-{number}") for number in range(7)]
    trees: dict[StorePath, Node] = {
        path: {b"f": File(bytes(number * 300_000)), b"n": File(path.encode())}
        for number, path in enumerate(paths)
    }
    write_store(str(tmp_path), trees)
    recipes = [recipe_of(path) for path in paths]
    expected = [digest_layer(recipe, store_root=str(tmp_path)) for recipe in recipes]
    assert digest_layers(recipes, jobs=jobs, store_root=str(tmp_path)) == expected
    weighted = digest_layers(
        recipes, jobs=jobs, store_root=str(tmp_path), weights=[3, 1, 4, 1, 5, 9, 2]
    )
    assert weighted == expected


def test_no_layers() -> None:
    """Nothing to do is no error; no job to do it is."""
    assert digest_layers([], jobs=2) == []
    with pytest.raises(InvalidInputError):
        digest_layers([], jobs=0)


def test_written_bytes_are_the_layer(tmp_path: Path) -> None:
    """What `write_layer` streams is what was digested."""
    write_store(str(tmp_path), {ONE: File(bytes(2_000_000)), TWO: {b"x": File(b"y")}})
    recipe = true_recipe(tmp_path, ONE, TWO)
    layer = digest_layer(recipe, store_root=str(tmp_path))
    received = bytearray()
    size = write_layer(recipe, layer, received.extend, store_root=str(tmp_path))
    assert size == layer.size == len(received)
    assert "sha256:" + hashlib.sha256(received).hexdigest() == layer.digest


@pytest.mark.parametrize("size", [10, 2_000_000])
@pytest.mark.parametrize("change_of_size", [-5, 0, 5, 2_000_000])
def test_changed_store_path_is_named(tmp_path: Path, size: int, change_of_size: int) -> None:
    """The error names the path that changed, and nobody received the whole of a wrong stream."""
    write_store(str(tmp_path), {ONE: {b"x": File(b"1" * size)}, TWO: {b"x": File(b"1" * size)}})
    recipe = true_recipe(tmp_path, ONE, TWO)
    layer = digest_layer(recipe, store_root=str(tmp_path))
    change(f"{tmp_path}{TWO}/x", b"2" * (size + change_of_size))
    wrong = tar_bytes(recipe, str(tmp_path))
    received = bytearray()
    with pytest.raises(LayerMismatchError) as caught:
        write_layer(recipe, layer, received.extend, store_root=str(tmp_path))
    assert caught.value.changed == (TWO,)
    assert caught.value.layer == layer
    assert TWO in str(caught.value) and ONE not in str(caught.value)
    assert len(received) < min(len(wrong), layer.size)


@pytest.mark.parametrize("blocks", range(1020, 1026))
def test_no_whole_wrong_stream_at_any_size(tmp_path: Path, blocks: int) -> None:
    """Also where the stream ends with a full buffer (512 blocks), its last part is held back."""
    write_store(str(tmp_path), {ONE: File(b"x" * 512 * (blocks - 5))})
    recipe = true_recipe(tmp_path, ONE)
    layer = digest_layer(recipe, store_root=str(tmp_path))
    assert layer.size == blocks * 512
    received = bytearray()
    assert write_layer(recipe, layer, received.extend, store_root=str(tmp_path)) == len(received)
    change(f"{tmp_path}{ONE}", b"y" * 512 * (blocks - 5))
    received = bytearray()
    with pytest.raises(LayerMismatchError):
        write_layer(recipe, layer, received.extend, store_root=str(tmp_path))
    assert len(received) < layer.size


def test_another_version_made_the_bytes(tmp_path: Path) -> None:
    """If no store path changed, the error says so rather than blame one."""
    write_store(str(tmp_path), {ONE: File(b"x")})
    recipe = true_recipe(tmp_path, ONE)
    layer = digest_layer(recipe, store_root=str(tmp_path))
    for recorded in (
        replace(layer, digest="sha256:" + "0" * 64),
        replace(layer, size=layer.size + 512),
        replace(layer, size=layer.size - 512),
    ):
        with pytest.raises(LayerMismatchError) as caught:
            write_layer(recipe, recorded, lambda part: None, store_root=str(tmp_path))
        assert caught.value.changed == ()
        assert "another version" in str(caught.value)


def test_missing_path_is_the_same_error_from_every_function(tmp_path: Path) -> None:
    """In this process and from a child, the error has its type, facts and sentence."""
    write_store(str(tmp_path), {ONE: File(b"x")})
    root = str(tmp_path)
    with pytest.raises(StorePathMissingError) as here:
        digest_layer(recipe_of(ONE, TWO), store_root=root)
    with pytest.raises(StorePathMissingError) as there:
        digest_layers([recipe_of(ONE), recipe_of(TWO)], jobs=2, store_root=root)
    assert vars(here.value) == vars(there.value)
    assert str(here.value) == str(there.value)
    assert there.value.path == TWO
    assert isinstance(there.value.path, StorePath)
