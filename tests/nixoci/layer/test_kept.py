"""Tests of `nixoci.layer.kept`: what is kept comes back, and nothing else is taken for it."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.layer.digest import digest_layer
from nixoci.layer.kept import (
    digest_kept_layer,
    is_kept,
    keep_layer,
    kept_name,
    write_kept_layer,
)
from nixoci.recipe.layer import LayerRecipe

from tests.nixoci.tar.tar_support import File, recipe_of, store_path, tar_bytes, write_store

ONE, TWO = store_path("one", "1"), store_path("two", "2")


@pytest.fixture
def recipe(tmp_path: Path) -> LayerRecipe:
    """A layer of several buffers, of which part can be compressed."""
    large = File(os.urandom(700_000) + bytes(700_000))
    write_store(str(tmp_path), {ONE: {b"large": large}, TWO: File(b"small")})
    return recipe_of(ONE, TWO)


def test_what_is_kept_comes_back(tmp_path: Path, recipe: LayerRecipe) -> None:
    """The layer is the one that digesting gives, and its bytes are those of its tar."""
    kept = tmp_path / kept_name(recipe)
    assert not is_kept(str(tmp_path), recipe)
    layer = keep_layer(recipe, str(kept), store_root=str(tmp_path))
    assert layer == digest_layer(recipe, store_root=str(tmp_path))
    assert is_kept(str(tmp_path), recipe) and not is_kept(None, recipe)
    assert kept.stat().st_size < layer.size * 2 / 3
    written = bytearray()
    assert write_kept_layer(str(tmp_path), recipe, layer, written.extend) == layer.size
    assert written == tar_bytes(recipe, str(tmp_path))


def test_what_is_not_kept(tmp_path: Path, recipe: LayerRecipe) -> None:
    """Without a file nothing is written, and the caller knows."""
    layer = digest_layer(recipe, store_root=str(tmp_path))
    assert write_kept_layer(str(tmp_path), recipe, layer, None) is None


def test_another_file_never_passes_for_the_layer(tmp_path: Path, recipe: LayerRecipe) -> None:
    """Whatever is in the file: its last bytes leave only after all of it was verified."""
    path = tmp_path / kept_name(recipe)
    layer = keep_layer(recipe, str(path), store_root=str(tmp_path))
    good = path.read_bytes()
    tar = gzip.decompress(good)
    changed = tar[:-1] + b"x"
    for data, reason in (
        (b"", "ends too early"),
        (good[:-10], "ends too early"),
        (good[: len(good) // 2], "ends too early"),
        (b"no gzip", "incorrect header"),
        (gzip.compress(changed), "contents are not"),
        (gzip.compress(tar[:-512]), "contents are not"),
        (gzip.compress(tar + bytes(512)), "too long"),
        (gzip.compress(tar + bytes(10_000_000)), "too long"),
    ):
        path.write_bytes(data)
        written = bytearray()
        with pytest.raises(InvalidInputError, match=reason):
            write_kept_layer(str(tmp_path), recipe, layer, written.extend)
        assert len(written) < layer.size
    path.write_bytes(good)
    with pytest.raises(InvalidInputError, match="contents are not"):
        write_kept_layer(str(tmp_path), recipe, replace(layer, digest="sha256:0"), written.extend)


@pytest.mark.parametrize("kind", ("directory", "pipe", "device", "loop"))
def test_something_else_than_a_file(kind: str, tmp_path: Path, recipe: LayerRecipe) -> None:
    """What has no bytes, or no end of them, is an error that names it, and is not waited for."""
    layer = digest_layer(recipe, store_root=str(tmp_path))
    path = tmp_path / kept_name(recipe)
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    for use in (
        lambda: write_kept_layer(str(tmp_path), recipe, layer, None),
        lambda: digest_kept_layer(str(tmp_path), recipe),
    ):
        with pytest.raises(InvalidInputError, match=f"kept layer '{path}' is not valid: "):
            use()
