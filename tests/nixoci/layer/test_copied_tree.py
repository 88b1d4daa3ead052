"""Tests of `nixoci.layer.copied_tree`."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.layer.copied_tree import (
    copied_tree,
    things_from_json,
    things_of_tree,
    things_to_json,
    tree_from_json,
    tree_to_json,
)
from nixoci.recipe.layer import ROOT, LayerRecipe, RecipeEntry
from nixoci.store.path import StorePath
from nixoci.tar.errors import StorePathMissingError

ONE = StorePath.parse("/nix/store/" + "0" * 32 + "-one")
TWO = StorePath.parse("/nix/store/" + "1" * 32 + "-two")
RECIPE = LayerRecipe((RecipeEntry(ONE, "sha256-x", ROOT), RecipeEntry(TWO, "sha256-x", TWO)))


@pytest.fixture
def store(tmp_path: Path) -> str:
    root = tmp_path / ONE[1:]
    (root / "etc" / "empty").mkdir(parents=True)
    (root / "etc" / "passwd").touch()
    (root / "bin").symlink_to("usr/bin")
    (root / "up").symlink_to("etc")
    os.close(os.open(os.fsencode(root) + b"/etc/\xff", os.O_CREAT))
    (tmp_path / TWO[1:]).mkdir()
    return str(tmp_path)


def test_places_and_kinds_of_what_is_copied(store: str) -> None:
    """A link to a directory is none; what stays in the store is not listed."""
    tree = copied_tree(RECIPE, store)
    assert tree == {
        "/bin": False,
        "/etc": True,
        "/etc/empty": True,
        "/etc/passwd": False,
        "/etc/\udcff": False,
        "/up": False,
    }
    assert tree_from_json(tree_to_json(tree)) == tree


def test_what_is_excluded_is_not_there(store: str) -> None:
    """A directory that is excluded is, with all that is in it."""
    excludes = ("etc/**", "bin")
    assert copied_tree(LayerRecipe(RECIPE.entries, excludes=excludes), store) == {
        "/etc": True,
        "/up": False,
    }
    assert copied_tree(LayerRecipe(RECIPE.entries, excludes=("etc",)), store) == {
        "/bin": False,
        "/up": False,
    }


def test_store_path_that_is_a_file_copies_nothing(tmp_path: Path) -> None:
    path = tmp_path / ONE[1:]
    path.parent.mkdir(parents=True)
    path.touch()
    assert copied_tree(RECIPE, str(tmp_path)) == {}


def test_store_path_that_is_not_there(tmp_path: Path) -> None:
    """It is realised, and the step runs again."""
    with pytest.raises(StorePathMissingError):
        copied_tree(RECIPE, str(tmp_path))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"directories": [], "others": [1]}'])
def test_other_documents(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        tree_from_json(data)


def test_things_that_are_copied(store: str) -> None:
    """Of those that are asked for: modes as in the layer, and what tells contents from others."""
    paths = ["/etc/passwd", "/bin", "/etc", "/nothing", "/etc/\udcff"]
    empty = f"sha256:{hashlib.sha256().hexdigest()}"
    things = things_of_tree(RECIPE, paths, store)
    assert things == {
        "/etc/passwd": (0o444, empty),
        "/bin": (0o777, "link:usr/bin"),
        "/etc/\udcff": (0o555, empty),
    }
    assert things_from_json(things_to_json(things)) == things
    of_the_disk = LayerRecipe(RECIPE.entries, dialect="nix2container")
    mode = stat.S_IMODE((Path(store) / ONE[1:] / "etc/passwd").stat().st_mode)
    assert things_of_tree(of_the_disk, ["/etc/passwd"], store) == {"/etc/passwd": (mode, empty)}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"/a": 1}', b'{"/a": "x sha256:1"}', b'{"/a": ""}'])
def test_other_documents_of_things(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        things_from_json(data)
