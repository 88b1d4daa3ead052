"""Several store paths in one tar: sorted, merged where they agree, refused where they do not."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Owner, Permission
from nixoci.tar.dialect import DIALECTS as WRITERS
from nixoci.tar.errors import (
    CopiedStoreError,
    DuplicateDestinationError,
    HiddenStoreError,
    NotADirectoryInRootError,
    StorePathMissingError,
    UnsupportedFileTypeError,
)

from tests.nixoci.tar.extraction_support import extract_with_gnu_tar, extract_with_tarfile
from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    both,
    far_down,
    few_descriptors,
    names_of_deep_tree,
    recipe_of,
    store_path,
    tar_bytes,
    temporary_directory,
    to_root,
    write_deep_tree,
    write_store,
)

ONE = store_path("one", "1")
TWO = store_path("two", "2")
THREE = store_path("three", "3")
MERGED = store_path("merged", "4")
COPIED = (ONE, TWO, THREE)

both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


def names(recipe: LayerRecipe, store_root: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(recipe, str(store_root)))) as archive:
        return [member.name for member in archive.getmembers()]


_large = b"x" * 300_000
_leaves = st.sampled_from(
    [File(b"x"), File(b"y"), File(b"x", 0o555), File(_large), File(_large[1:] + b"y")]
    + [Link(b"x"), Link(b"y")]
)
_names = st.sampled_from([b"a", b"b", b"a.b", b"nix", b"\xff", "é".encode(), b"l" * 90])


def _directory(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Mapping[bytes, Node]]:
    return st.dictionaries(_names, children, max_size=4)


_trees = _directory(st.recursive(_leaves, _directory, max_leaves=8))


@st.composite
def parts_of(draw: Any, node: Node) -> Node:
    """A part of a tree, now and then with something else in it."""
    if not isinstance(node, Mapping):
        return node
    part = {name: draw(parts_of(child)) for name, child in node.items() if draw(st.booleans())}
    if draw(st.integers(0, 9)) == 0:
        part[draw(_names)] = draw(_leaves)
    return part


def union(one: Node, other: Node, place: bytes = b"") -> Node:
    """Both trees in one, or a `ValueError` with a place where they differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        merged = dict(one)
        for name, child in other.items():
            merged[name] = union(one[name], child, place + b"/" + name) if name in one else child
        return merged
    if one != other:
        raise ValueError(place)
    return one


@both_dialects
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_merged_trees_are_as_one_tree(dialect: str, data: Any) -> None:
    """Trees that agree give the bytes of their union, in any order; others are an error.

    So one sorted stream comes out, in which each name occurs once.
    """
    whole = data.draw(_trees)
    parts = [data.draw(parts_of(whole)) for _ in COPIED]
    with temporary_directory() as store:
        write_store(store, dict(zip(COPIED, parts)))
        recipe = to_root(*data.draw(st.permutations(COPIED)), dialect=dialect)
        if any(not isinstance(part.get(b"nix", {}), Mapping) for part in parts):
            with pytest.raises(HiddenStoreError):
                tar_bytes(recipe, store)
            return
        try:
            merged = union(union(parts[0], parts[1]), parts[2])
        except ValueError:
            with pytest.raises(DuplicateDestinationError) as caught:
                tar_bytes(recipe, store)
            one, other = (parts[COPIED.index(path)] for path in caught.value.paths)
            with pytest.raises(ValueError):
                union(one, other)
            for name in os.fsencode(caught.value.destination[1:]).split(b"/"):
                one, other = one[name], other[name]
            assert one != other and not (isinstance(one, dict) and isinstance(other, dict))
        else:
            write_store(store, {MERGED: merged})
            assert tar_bytes(recipe, store) == tar_bytes(to_root(MERGED, dialect=dialect), store)


def flat(node: Node, mode: int, place: bytes = b"") -> dict[bytes, tuple[int, object]]:
    """The mode and the content or target of what is in a directory, by path; of it, mode only."""
    if isinstance(node, File):
        return {place: (node.mode, node.content)}
    if isinstance(node, Link):
        return {place: (0o777, node.target)}
    found: dict[bytes, tuple[int, object]] = {place: (mode, None)} if place else {}
    for name, child in node.items():
        found.update(flat(child, mode, place + b"/" + name))
    return found


def extracted(root: bytes) -> dict[bytes, tuple[int, object]]:
    found: dict[bytes, tuple[int, object]] = {}
    for directory, inner, files in os.walk(root):
        for name in inner + files:
            path = directory + b"/" + name
            mode = os.lstat(path).st_mode & 0o7777
            if os.path.islink(path):
                found[path[len(root) :]] = (mode, os.readlink(path))
            elif os.path.isdir(path):
                found[path[len(root) :]] = (mode, None)
            else:
                with open(path, "rb") as file:
                    found[path[len(root) :]] = (mode, file.read())
    return found


@both_dialects
@pytest.mark.parametrize("extract", [extract_with_gnu_tar, extract_with_tarfile])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_extracted_image_is_the_union(extract: Any, dialect: str, data: Any) -> None:
    """Programs extract what the trees hold together, and the store path beside them."""
    whole = data.draw(_trees.filter(lambda tree: isinstance(tree.get(b"nix", {}), Mapping)))
    parts = [{name: node for name, node in whole.items() if data.draw(st.booleans())} for _ in "ab"]
    forced = WRITERS[dialect].copied_directory_mode
    expected = flat({**parts[0], **parts[1]}, 0o555 if forced is None else forced)
    for place in (b"/nix", b"/nix/store"):
        expected.setdefault(place, (0o755, None))
    expected.update(flat({b"f": File(b"f")}, 0o555, os.fsencode(THREE)))
    with temporary_directory() as store, temporary_directory() as target:
        write_store(store, {ONE: parts[0], TWO: parts[1], THREE: {b"f": File(b"f")}})
        recipe = both(to_root(ONE, TWO, dialect=dialect), recipe_of(THREE))
        root = extract(tar_bytes(recipe, store), target)
        assert extracted(os.fsencode(root)) == expected


def test_every_dialect_of_a_recipe_can_be_written() -> None:
    """Those that a recipe may name are those that there are."""
    assert tuple(WRITERS) == DIALECTS


def test_one_sorted_stream(tmp_path: Path) -> None:
    """Copied trees and the store are sorted together; each parent is there once."""
    write_store(
        str(tmp_path),
        {
            ONE: {b"etc": {b"a": File(), b"d": {}}, b"opt": {}, b"nix": {b"var": {}}},
            TWO: {b"etc": {b"b": File(), b"d": {}}, b"bin": Link(b"usr/bin")},
            THREE: {b"x": File()},
        },
    )
    recipe = both(recipe_of(THREE), to_root(ONE, TWO))
    expected = ["bin", "etc", "etc/a", "etc/b", "etc/d", "nix", "nix/store", THREE[1:]]
    assert names(recipe, tmp_path) == [*expected, f"{THREE[1:]}/x", "nix/var", "opt"]
    recipe = replace(recipe, dialect="nix2container")
    found = [name.lstrip("/") for name in names(recipe, tmp_path)]
    assert found == ["", *expected, f"{THREE[1:]}/x", "nix/var", "opt"]


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("oci", {"etc": 0o755, "nix": 0o755, "nix/store": 0o755}),
        ("nix2container", {"": 0o755, "etc": 0o555, "nix": 0o555, "nix/store": 0o555}),
    ],
)
def test_modes_of_merged_directories(
    tmp_path: Path, dialect: str, expected: dict[str, int]
) -> None:
    """What a copied tree brings is 0755 in `oci` and as in the store in `nix2container`."""
    write_store(str(tmp_path), {ONE: File(), TWO: {b"etc": {}, b"nix": {b"store": {}}}})
    recipe = both(recipe_of(ONE, dialect=dialect), to_root(TWO))
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(recipe, str(tmp_path)))) as archive:
        found = {m.name.lstrip("/"): m.mode for m in archive.getmembers() if m.isdir()}
    assert found == expected


@both_dialects
@pytest.mark.parametrize(
    ("one", "two"),
    [
        (File(b"1"), File(b"2")),
        (File(b"1"), File(b"1", 0o555)),
        (File(_large + b"1"), File(_large + b"2")),
        (File(b"1"), File(b"11")),
        (File(b"x"), Link(b"x")),
        (Link(b"x"), Link(b"y")),
        (Link(b"x"), {}),
        ({}, File(b"1")),
        ({b"below": File()}, Link(b"y")),
    ],
)
def test_what_differs_collides(tmp_path: Path, dialect: str, one: Node, two: Node) -> None:
    """The error names the destination and both store paths, whatever the order of the recipe."""
    write_store(str(tmp_path), {ONE: {b"etc": {b"x": one}}, TWO: {b"etc": {b"x": two}}})
    for paths in ((ONE, TWO), (TWO, ONE)):
        with pytest.raises(DuplicateDestinationError) as caught:
            tar_bytes(to_root(*paths, dialect=dialect), str(tmp_path))
        assert caught.value.destination == "/etc/x"
        assert caught.value.paths == (ONE, TWO)
        assert ONE in str(caught.value) and TWO in str(caught.value)


@both_dialects
def test_identical_entries_merge(tmp_path: Path, dialect: str) -> None:
    """Files of the same bytes and links of the same target are there once."""
    tree: Node = {b"etc": {b"f": File(_large), b"l": Link(b"f"), b"d": {}}}
    write_store(str(tmp_path), {path: tree for path in COPIED})
    merged = tar_bytes(to_root(*COPIED, dialect=dialect), str(tmp_path))
    assert merged == tar_bytes(to_root(ONE, dialect=dialect), str(tmp_path))


@both_dialects
def test_permissions_and_owners_apply_to_what_is_merged(tmp_path: Path, dialect: str) -> None:
    """They go by destination, so they cannot make identical entries differ."""
    tree: Node = {b"nix": {b"etc": {b"f": File(b"1"), b"d": {}}}}
    write_store(str(tmp_path), {ONE: tree, TWO: tree})
    permissions = (Permission("/nix/etc(/.*)?", mode=0o700, uid=3),)
    one, merged = (
        tar_bytes(
            replace(to_root(*paths, dialect=dialect), permissions=permissions, owner=Owner(gid=4)),
            str(tmp_path),
        )
        for paths in ((ONE,), (ONE, TWO))
    )
    assert one == merged
    with tarfile.open(fileobj=io.BytesIO(merged)) as archive:
        found = {(m.mode, m.uid, m.gid) for m in archive.getmembers() if "etc" in m.name}
    assert found == {(0o700, 3, 4)}


@pytest.mark.parametrize("node", [File(b"x"), Link(b"x")])
@pytest.mark.parametrize("name", [b"nix", b"store"])
@both_dialects
def test_nothing_can_replace_the_store(
    tmp_path: Path, dialect: str, name: bytes, node: Node
) -> None:
    """A copied tree whose `nix` or `nix/store` is no directory is an error, wherever the store is."""
    tree: Node = {b"nix": node} if name == b"nix" else {b"nix": {name: node}}
    write_store(str(tmp_path), {ONE: {}, TWO: tree})
    for beside in ((), (ONE,)):
        with pytest.raises(HiddenStoreError) as caught:
            tar_bytes(both(recipe_of(*beside, dialect=dialect), to_root(TWO)), str(tmp_path))
        assert caught.value.path == TWO


@both_dialects
@pytest.mark.parametrize("name", [ONE.base_name, "x"])
@pytest.mark.parametrize("beside", [(), (ONE,)])
def test_nothing_is_copied_into_the_store(
    tmp_path: Path, dialect: str, name: str, beside: Any
) -> None:
    """A copied tree with something in `nix/store` is an error: the database would not list it."""
    below: Node = {b"nix": {b"store": {name.encode(): {}}}}
    write_store(str(tmp_path), {ONE: {b"x": File()}, TWO: below})
    with pytest.raises(CopiedStoreError) as caught:
        tar_bytes(
            both(recipe_of(*beside, dialect=dialect), to_root(TWO)), str(tmp_path)
        )
    assert (caught.value.path, caught.value.name) == (TWO, name)


@both_dialects
def test_one_path_in_both_places(tmp_path: Path, dialect: str) -> None:
    """A path that is copied and referenced is in the store and at the root."""
    write_store(str(tmp_path), {ONE: {b"x": File(b"1")}})
    found = names(both(recipe_of(ONE, dialect=dialect), to_root(ONE)), tmp_path)
    assert [name.lstrip("/") for name in found if "x" in name.split("/")] == [f"{ONE[1:]}/x", "x"]


@both_dialects
@pytest.mark.parametrize("others", [(), (TWO,)])
def test_empty_trees_at_the_root_give_an_empty_layer(
    tmp_path: Path, dialect: str, others: tuple[Any, ...]
) -> None:
    """There is no entry, not even for the root, if there is nothing in it."""
    write_store(str(tmp_path), {ONE: {}, TWO: {}})
    assert tar_bytes(to_root(ONE, *others, dialect=dialect), str(tmp_path)) == bytes(1024)


def test_errors_of_merged_trees_name_path_and_file(tmp_path: Path) -> None:
    """A missing path, one that is no directory, and a pipe in a directory that two trees have."""
    write_store(str(tmp_path), {ONE: {b"etc": {b"x": File()}}, TWO: {b"etc": {b"x": File()}}})
    with pytest.raises(StorePathMissingError) as missing:
        tar_bytes(to_root(ONE, THREE), str(tmp_path))
    assert missing.value.path == THREE
    write_store(str(tmp_path), {THREE: File()})
    with pytest.raises(NotADirectoryInRootError) as wrong:
        tar_bytes(to_root(ONE, THREE), str(tmp_path))
    assert wrong.value.path == THREE
    os.chmod(f"{tmp_path}{TWO}/etc", 0o755)
    os.mkfifo(f"{tmp_path}{TWO}/etc/pipe")
    with pytest.raises(UnsupportedFileTypeError) as unsupported:
        tar_bytes(to_root(ONE, TWO), str(tmp_path))
    assert (unsupported.value.path, unsupported.value.file) == (TWO, "etc/pipe")
    os.unlink(f"{tmp_path}{TWO}/etc/x")
    os.rename(f"{tmp_path}{TWO}/etc/pipe", f"{tmp_path}{TWO}/etc/x")
    with pytest.raises(UnsupportedFileTypeError) as unsupported:
        tar_bytes(to_root(ONE, TWO), str(tmp_path))
    assert (unsupported.value.path, unsupported.value.file) == (TWO, "etc/x")


@pytest.mark.parametrize("levels, dialect", [(320, "nix2container"), (1_000, "oci"), (2_100, "oci")])
def test_deep_trees_are_merged(tmp_path: Path, levels: int, dialect: str) -> None:
    """Whoever does it, and however few files are open; the bytes are those of one of them if they are equal."""
    os.makedirs(f"{tmp_path}/nix/store")
    try:
        for path in (ONE, TWO):
            write_deep_tree(f"{tmp_path}{path}", levels)
        with few_descriptors(120):
            data = tar_bytes(to_root(ONE, dialect=dialect), str(tmp_path))
            both_trees = to_root(ONE, TWO, dialect=dialect)
            assert far_down(lambda: tar_bytes(both_trees, str(tmp_path))) == data
    finally:
        subprocess.run(["rm", "-rf", f"{tmp_path}{ONE}", f"{tmp_path}{TWO}"], check=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = [name.strip("/") for name in archive.getnames() if name.strip("/")]
    assert names == [name[2:] for name in names_of_deep_tree("x", levels)[1:]]


def test_deep_trees_that_part(tmp_path: Path) -> None:
    """What only one of them has, far down, and what is in it; then what they have in common again."""
    os.makedirs(f"{tmp_path}/nix/store")
    for path in (ONE, TWO):
        write_deep_tree(f"{tmp_path}{path}", 100)
        write_deep_tree(f"{tmp_path}{path}" + "/d" * 100 + f"/{path.name}", 100)
    with few_descriptors(120):
        data = tar_bytes(to_root(ONE, TWO), str(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    common = [name[2:] for name in names_of_deep_tree("x", 100)[1:]]
    own = [names_of_deep_tree(f"{common[99]}/{path.name}", 100) for path in (ONE, TWO)]
    assert names == [*common[:100], *sorted(own)[0], *sorted(own)[1], *common[100:]]


def test_deep_trees_that_differ(tmp_path: Path) -> None:
    """The error names the place, and nothing stays open."""
    os.makedirs(f"{tmp_path}/nix/store")
    for path in (ONE, TWO):
        write_deep_tree(f"{tmp_path}{path}", 400)
    place = "/d" * 400 + "/file"
    for path, content in ((ONE, b"1"), (TWO, b"2")):
        with open(f"{tmp_path}{path}{place}", "wb") as file:
            file.write(content)
    with few_descriptors(120), pytest.raises(DuplicateDestinationError) as caught:
        tar_bytes(to_root(ONE, TWO), str(tmp_path))
    assert caught.value.destination == place

