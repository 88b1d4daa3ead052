"""Trees as deep as Nix takes them: what was digested can be listed, written, verified and kept."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Iterator

import pytest
from nixoci.layer.copied_tree import copied_tree, things_of_tree, tree_from_json, tree_to_json
from nixoci.layer.digest import digest_layer, digest_layers
from nixoci.layer.idle_permissions import idle_permissions
from nixoci.layer.kept import keep_layer, kept_name, write_kept_layer
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.write import write_layer
from nixoci.recipe.layer import ROOT, LayerRecipe, Permission, RecipeEntry
from nixoci.store.nar import nar_hash
from nixoci.tar.errors import StorePathUnreadableError

from tests.nixoci.tar.tar_support import (
    far_down,
    few_descriptors,
    names_of_deep_tree,
    store_path,
    write_deep_tree,
)

ONE = store_path("one")
LEVELS = 1_900
DEEPEST = "/d" * LEVELS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = str(tmp_path_factory.mktemp("store"))
    os.makedirs(f"{root}/nix/store")
    write_deep_tree(root + ONE, LEVELS)
    with few_descriptors(200):
        yield root
    subprocess.run(["rm", "-rf", root + ONE], check=True)


def recipe(root: str, destination: str = ONE) -> LayerRecipe:
    return LayerRecipe((RecipeEntry(ONE, nar_hash(root + ONE), destination),))


@pytest.mark.parametrize("destination", [ONE, ROOT])
def test_what_was_digested_is_written(store: str, destination: str) -> None:
    """From any depth of the program; in another process too."""
    made = recipe(store, destination)
    layer = digest_layer(made, store_root=store)
    assert far_down(lambda: digest_layer(made, store_root=store)) == layer
    assert digest_layers([made, made], jobs=2, store_root=store) == [layer, layer]
    written: list[int] = []
    far_down(
        lambda: write_layer(
            made, layer, lambda part: written.append(len(part)), store_root=store
        )
    )
    assert sum(written) == layer.size


def test_what_was_digested_is_kept(store: str, tmp_path: Path) -> None:
    made = recipe(store)
    path = f"{tmp_path}/{kept_name(made)}"
    layer = far_down(lambda: keep_layer(made, path, store_root=store))
    assert layer == digest_layer(made, store_root=store)
    assert write_kept_layer(str(tmp_path), made, layer, len) == layer.size


def test_what_has_changed_is_named(store: str) -> None:
    """For that, NAR hashes are made."""
    made = recipe(store)
    layer = replace(digest_layer(made, store_root=store), digest=f"sha256:{'0' * 64}")
    layer = replace(layer, diff_id=layer.digest)
    for entry, changed in ((made.entries[0], ()), (RecipeEntry(ONE, "sha256-x", ONE), (ONE,))):
        with pytest.raises(LayerMismatchError) as caught:
            far_down(
                lambda: write_layer(LayerRecipe((entry,)), layer, len, store_root=store)
            )
        assert caught.value.changed == changed


def test_what_is_copied_is_listed(store: str) -> None:
    """With the contents of what is far down."""
    made = recipe(store, ROOT)
    tree = far_down(lambda: copied_tree(made, store))
    names = names_of_deep_tree("", LEVELS)[1:]
    assert sorted(tree) == sorted(names)
    assert {path for path in tree if tree[path]} == {n for n in names if n.endswith("d")}
    assert tree_from_json(tree_to_json(tree)) == tree
    wanted = [name for name in names if not name.endswith("d")][:2]
    things = far_down(lambda: things_of_tree(made, wanted, store))
    assert [things[name][1].partition(":")[0] for name in wanted] == ["link", "sha256"]
    assert len(wanted[1]) > 3_500


def test_permissions_far_down_do_something(store: str) -> None:
    """Those that match nothing do not."""
    permissions = (
        Permission(f"{ONE}{DEEPEST}", mode=0o700),
        Permission(f"{ONE}{DEEPEST}/d", mode=0o700),
    )
    made = replace(recipe(store), permissions=permissions)
    assert far_down(lambda: idle_permissions(made, store)) == (1,)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no file has no contents: an error, and no program that waits for somebody to write."""
    os.makedirs(tmp_path / ONE[1:])
    os.mkfifo(tmp_path / ONE[1:] / "pipe")
    with pytest.raises(StorePathUnreadableError, match="no regular file"):
        things_of_tree(LayerRecipe((RecipeEntry(ONE, "x", ROOT),)), ["/pipe"], str(tmp_path))
    assert stat.S_ISFIFO(os.stat(tmp_path / ONE[1:] / "pipe").st_mode)
