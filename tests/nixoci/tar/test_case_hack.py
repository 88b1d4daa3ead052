"""A layer of a store of macOS has the names, and the bytes, of that of any other store."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from nixoci.layer.copied_tree import copied_tree
from nixoci.layer.digest import digest_layer, digest_layers
from nixoci.layer.kept import keep_layer
from nixoci.layer.layer import Layer
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.write import write_layer
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Owner, Permission, RecipeEntry
from nixoci.store.case_hack import CASE_HACK
from nixoci.store.nar import nar_hash
from nixoci.store.path import StorePath
from nixoci.tar.errors import (
    CaseHackError,
    CopiedStoreError,
    ReservedNameError,
    UnsupportedFileTypeError,
)

from tests.nixoci.store.case_hack_support import (
    TREES,
    dump,
    has_case_hack,
    never_asked,
    restore,
)
from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    both,
    recipe_of,
    store_path,
    tar_bytes,
    temporary_directory,
    to_root,
    write_store,
)

ONE = store_path("one", "1")
TWO = store_path("two", "2")

#: On the disk of macOS: A, a…1 with b, B…1 in it, and so on.
TREE: Node = {
    b"A": {b"x": File(b"capital")},
    b"a": {
        b"B": File(b"1"),
        b"b": {b"deep": Link(b"../B")},
        b"b.c": File(b"2", 0o555),
        b"x": File(b"3"),
    },
    b"README": File(b"4"),
    b"ReadMe": Link(b"README"),
    b"readme": File(b"5", 0o555),
    b"z": {},
}
#: What decides by names, all of it matching true names only.
RECIPES = {
    "store": recipe_of(ONE),
    "root": to_root(ONE),
    "merged": to_root(ONE, TWO),
    "both": both(recipe_of(ONE, TWO), to_root(ONE)),
    "excludes": replace(
        both(recipe_of(ONE), to_root(ONE)), excludes=("a/b/**", "readme", "*~*", "**/?.c")
    ),
    "permissions": replace(
        both(recipe_of(ONE), to_root(ONE, TWO)),
        permissions=(
            Permission(".*/a/b", mode=0o700, uid=1),
            Permission("/nix/store/[^/]+/readme", capabilities=("cap_net_raw",)),
            Permission(".*/ReadMe", gid=7),
            Permission(".*~.*", uid=666),
        ),
    ),
    "owner": replace(recipe_of(ONE), owner=Owner(1000, 100, "", "")),
}


def write_both(directory: str, trees: dict[StorePath, Node]) -> tuple[str, str]:
    """Makes a store, and one as macOS has it with the same paths; returns their roots."""
    plain, hacked = f"{directory}/plain", f"{directory}/hacked"
    write_store(plain, trees)
    for path in trees:
        restore(dump(plain + path), hacked + path)
    return plain, hacked


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_layer_is_that_of_other_stores(
    tmp_path: Path, recipe: LayerRecipe, dialect: str
) -> None:
    """Names, their order, and all that goes by names: excludes, permissions, capabilities, owners."""
    plain, hacked = write_both(str(tmp_path), {ONE: TREE, TWO: {b"a": {b"b": {}}}})
    assert f"a{CASE_HACK}1" in os.listdir(hacked + ONE)
    recipe = replace(recipe, dialect=dialect)
    stream = tar_bytes(recipe, plain, never_asked("a store without suffixes"))
    with tarfile.open(fileobj=io.BytesIO(stream)) as one:
        with tarfile.open(fileobj=io.BytesIO(tar_bytes(recipe, hacked, has_case_hack))) as two:
            assert one.getnames() == two.getnames()
    if dialect == "oci":
        # Nix's own modes come with registration, which the next dialect needs to have the same.
        assert tar_bytes(recipe, hacked, has_case_hack) == stream


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=TREES, other=TREES)
def test_so_it_is_for_any_tree(node: Node, other: Node) -> None:
    """Alone, and walked together with another one that has the same names."""
    assert isinstance(node, dict) and isinstance(other, dict)
    together = {**other, **node}
    with temporary_directory() as directory:
        plain, hacked = write_both(directory, {ONE: node, TWO: together})
        for recipe in (recipe_of(ONE), to_root(ONE), to_root(TWO), both(recipe_of(TWO), to_root(ONE))):
            assert tar_bytes(recipe, hacked, has_case_hack) == tar_bytes(recipe, plain)
        merged = to_root(ONE, TWO)
        if all(isinstance(n, File) or together[name] is n for name, n in node.items()):
            assert tar_bytes(merged, hacked, has_case_hack) == tar_bytes(merged, plain)
        assert copied_tree(merged, hacked, has_case_hack) == copied_tree(merged, plain)


def test_every_way_to_a_layer_has_true_names(tmp_path: Path) -> None:
    """Digest, several at once, kept, compressed or not, and written with verification."""
    plain, hacked = write_both(str(tmp_path), {ONE: TREE})
    recipe = LayerRecipe((RecipeEntry(ONE, nar_hash(plain + ONE), ONE),))
    layer = digest_layer(recipe, store_root=plain)
    assert digest_layer(recipe, store_root=hacked, has_case_hack=has_case_hack) == layer
    assert digest_layer(recipe, store_root=hacked) != layer
    for jobs in (1, 2):
        made = digest_layers(
            [recipe] * 2, jobs=jobs, store_root=hacked, has_case_hack=has_case_hack
        )
        assert made == [layer] * 2
    kept = str(tmp_path / "kept")
    assert keep_layer(recipe, kept, store_root=hacked, has_case_hack=has_case_hack) == layer
    written = bytearray()
    write_layer(
        recipe, layer, written.extend, store_root=hacked, has_case_hack=has_case_hack
    )
    assert len(written) == layer.size
    # What has the recorded contents is not blamed for another digest.
    other = Layer("sha256:" + "0" * 64, layer.size, "sha256:" + "0" * 64)
    with pytest.raises(LayerMismatchError) as caught:
        write_layer(
            recipe, other, lambda part: None, store_root=hacked, has_case_hack=has_case_hack
        )
    assert caught.value.changed == ()


@pytest.mark.parametrize(
    "names",
    [(b"a", b"a~nix~case~hack~1"), (b"A~nix~case~hack~1", b"A~nix~case~hack~2"), (b"~nix~case~hack~1",)],
)
@pytest.mark.parametrize("recipe", [recipe_of(TWO), to_root(TWO), to_root(ONE, TWO)])
def test_names_that_become_one_are_an_error_with_all_of_them(
    tmp_path: Path, recipe: LayerRecipe, names: tuple[bytes, ...]
) -> None:
    """Unless they are excluded; and without the setting they are names like others."""
    trees: dict[StorePath, Node] = {ONE: {b"d": {}}, TWO: {b"d": dict.fromkeys(names, File())}}
    write_store(str(tmp_path), trees)
    with pytest.raises(CaseHackError) as caught:
        tar_bytes(recipe, str(tmp_path), has_case_hack)
    assert (caught.value.path, caught.value.file) == (TWO, "d")
    assert caught.value.names == tuple(map(bytes.decode, names))
    for name in names:
        assert name.decode() in str(caught.value)
    assert f"{TWO}/d has " in str(caught.value) and "`excludes`" in str(caught.value)
    tar_bytes(recipe, str(tmp_path))
    for pattern in ("d", "d/**") if len(names) > 1 else ("d",):
        tar_bytes(replace(recipe, excludes=(pattern,)), str(tmp_path), has_case_hack)


def test_errors_and_other_checks_know_true_names(tmp_path: Path) -> None:
    """A pipe, a name that deletes, and a store below the root, each in a directory with a suffix."""
    trees: dict[StorePath, Node] = {
        ONE: {b"Nix": {}, b"nix": {b"Store": {}, b"store": {b"x": File()}}},
        TWO: {b"A": {}, b"a": {b".WH.x": File(), b".wh.x": File()}},
    }
    _, hacked = write_both(str(tmp_path), trees)
    assert set(os.listdir(hacked + ONE)) == {"Nix", f"nix{CASE_HACK}1"}
    with pytest.raises(CopiedStoreError) as store:
        tar_bytes(to_root(ONE), hacked, has_case_hack)
    assert store.value.name == "x"
    excluding = replace(to_root(ONE), excludes=("nix/store/x",))
    assert b"store/x" not in tar_bytes(excluding, hacked, has_case_hack)
    with pytest.raises(ReservedNameError) as reserved:
        tar_bytes(recipe_of(TWO), hacked, has_case_hack)
    assert (reserved.value.path, reserved.value.file) == (TWO, "a/.wh.x")
    os.mkfifo(f"{hacked}{TWO}/a{CASE_HACK}1/pipe{CASE_HACK}1")
    excluding = replace(recipe_of(TWO), excludes=("a/.wh.x",))
    with pytest.raises(UnsupportedFileTypeError) as unsupported:
        tar_bytes(excluding, hacked, has_case_hack)
    assert unsupported.value.file == "a/pipe"


def test_the_list_of_copied_files_has_true_names(tmp_path: Path) -> None:
    """As it is what other fields are held against."""
    plain, hacked = write_both(str(tmp_path), {ONE: TREE})
    for excludes in ((), ("a/b",), ("readme", "A/**")):
        recipe = replace(to_root(ONE), excludes=excludes)
        tree = copied_tree(recipe, hacked, has_case_hack)
        assert tree == copied_tree(recipe, plain, never_asked("plain names"))
        assert not [name for name in tree if CASE_HACK in name]
