"""Names that delete something in an image are refused, wherever they would come into a layer."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.layer.copied_tree import copied_tree
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Permission
from nixoci.tar.errors import ReservedNameError

from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    both,
    recipe_of,
    store_path,
    tar_bytes,
    to_root,
    write_store,
)
from tests.nixoci.tar.test_fast_is_slow import packed

ONE = store_path("one", "1")
TWO = store_path("two", "2")

#: Every way of a store path into a layer, alone and where trees are walked together.
WAYS = {
    "store": recipe_of(TWO),
    "root": to_root(TWO),
    "merged": to_root(ONE, TWO),
    "both": both(recipe_of(ONE, TWO), to_root(TWO)),
    "owner": replace(recipe_of(TWO), permissions=(Permission(".*", uid=5),)),
}
each_way = pytest.mark.parametrize("recipe", WAYS.values(), ids=WAYS)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def names(recipe: LayerRecipe, store_root: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(recipe, str(store_root)))) as archive:
        return [member.name for member in archive.getmembers()]


@each_dialect
@each_way
@pytest.mark.parametrize(
    "name", [".wh.passwd", ".wh..wh..opq", ".wh..wh.plnk", ".wh.", ".wh.é", ".wh.\udcff"]
)
def test_a_file_that_would_delete_is_an_error(
    tmp_path: Path, recipe: LayerRecipe, dialect: str, name: str
) -> None:
    """The error has the store path, the file and the ways out."""
    tree: Node = {b"etc": {b"x": File(), name.encode("utf-8", "surrogateescape"): File()}}
    write_store(str(tmp_path), {ONE: {b"etc": {b"x": File()}}, TWO: tree})
    with pytest.raises(ReservedNameError) as caught:
        tar_bytes(replace(recipe, dialect=dialect), str(tmp_path))
    assert (caught.value.path, caught.value.file) == (TWO, f"etc/{name}")
    assert f"{TWO}/etc/.wh." in str(caught.value) and "`excludes`" in str(caught.value)


@each_way
@pytest.mark.parametrize("node", [{}, {b"x": File()}, Link(b"x"), Link(b"/etc/passwd")])
@pytest.mark.parametrize("place", [(), (b"a", b"b", b"c"), ("é".encode(),)])
def test_so_is_any_kind_at_any_depth(
    tmp_path: Path, recipe: LayerRecipe, node: Node, place: tuple[bytes, ...]
) -> None:
    """Directories and symbolic links of that name, at the top and deep below."""
    tree: Node = {b".wh.x": node}
    for name in reversed(place):
        tree = {name: tree}
    write_store(str(tmp_path), {ONE: {}, TWO: tree})
    with pytest.raises(ReservedNameError) as caught:
        tar_bytes(recipe, str(tmp_path))
    assert caught.value.path == TWO
    assert caught.value.file == "/".join([*(name.decode() for name in place), ".wh.x"])


@each_way
def test_what_is_excluded_does_no_harm(tmp_path: Path, recipe: LayerRecipe) -> None:
    """The layer is that of the tree without the file, be it itself or its directory that is left out."""
    tree: Node = {b"etc": {b"x": File(), b".wh.x": File()}, b".wh..wh..opq": {b"y": File()}}
    clean: Node = {b"etc": {b"x": File()}}
    write_store(f"{tmp_path}/a", {ONE: {}, TWO: tree})
    write_store(f"{tmp_path}/b", {ONE: {}, TWO: clean})
    for excludes in (("**/.wh.*",), (".wh..wh..opq", "etc/.wh.x")):
        excluding = replace(recipe, excludes=excludes)
        assert tar_bytes(excluding, f"{tmp_path}/a") == tar_bytes(recipe, f"{tmp_path}/b")
    without = replace(recipe, excludes=("etc", ".wh..wh..opq"))
    assert not [name for name in names(without, tmp_path / "a") if "etc" in name]
    with pytest.raises(ReservedNameError):
        tar_bytes(replace(recipe, excludes=("**/.wh.x",)), f"{tmp_path}/a")


def test_other_names_are_packed(tmp_path: Path) -> None:
    """Only the beginning of a name counts, and no two names make one together."""
    tree: Node = {
        name: {name: File(name)}
        for name in (b"a.wh.b", b".wh", b".whx", b"wh.x", b"x.w", b"h.y", b".WH.x", b"..wh.x")
    }
    write_store(str(tmp_path), {TWO: tree})
    for recipe in (recipe_of(TWO), to_root(TWO)):
        stream = packed(recipe, str(tmp_path), fast=True)
        assert stream == packed(recipe, str(tmp_path), fast=False)
        with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
            found = {name.rpartition("/")[2].encode() for name in archive.getnames()}
        assert found >= set(tree)


def test_a_store_path_with_such_a_name_begins_with_its_digits(tmp_path: Path) -> None:
    """`nix-store` allows the name, and nothing is deleted by it."""
    path = store_path(".wh.x", "3")
    write_store(str(tmp_path), {path: {b"f": File()}})
    assert names(recipe_of(path), tmp_path)[2:] == [path[1:], f"{path[1:]}/f"]


def test_the_list_of_copied_files_refuses_it_too(tmp_path: Path) -> None:
    write_store(str(tmp_path), {TWO: {b"etc": {b".wh.x": File()}}})
    with pytest.raises(ReservedNameError) as caught:
        copied_tree(to_root(TWO), str(tmp_path))
    assert caught.value.file == "etc/.wh.x"
    excluding = replace(to_root(TWO), excludes=("etc/.wh.*",))
    assert copied_tree(excluding, str(tmp_path)) == {"/etc": True}
