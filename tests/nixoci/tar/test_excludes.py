"""What is excluded is left out as if it were not in the store."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Permission
from nixoci.tar.errors import (
    CopiedStoreError,
    DuplicateDestinationError,
    HiddenStoreError,
    UnsupportedFileTypeError,
)

from tests.nixoci.recipe.glob_support import glob_matches
from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    both,
    directories,
    recipe_of,
    store_path,
    tar_bytes,
    temporary_directory,
    to_root,
    write_store,
)
from tests.nixoci.tar.test_fast_is_slow import packed

PATH = store_path("tree")
OTHER = store_path("other", "2")


def text_of(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def pruned(node: Node, excludes: tuple[str, ...], below: str = "") -> Node:
    """`node` without what is excluded."""
    if not isinstance(node, Mapping):
        return node
    return {
        name: pruned(child, excludes, f"{below}{text_of(name)}/")
        for name, child in node.items()
        if not any(glob_matches(pattern, below + text_of(name)) for pattern in excludes)
    }


def all_paths(node: Node, below: str = "") -> list[str]:
    if not isinstance(node, Mapping):
        return []
    return [
        path
        for name, child in node.items()
        for path in (
            below + text_of(name),
            *all_paths(child, f"{below}{text_of(name)}/"),
        )
    ]


def _is_pattern(text: str) -> bool:
    return "**" not in text


@st.composite
def trees_with_excludes(draw: Any) -> tuple[Node, tuple[str, ...]]:
    node = draw(directories)
    general = st.sampled_from(["**", "*", "*/*", "**/a*", "?*/**", "**/*.b", "bin/**", "**/deep/**"])
    own = [path for path in all_paths(node) if _is_pattern(path)]
    if own:
        whole = st.sampled_from(own)
        last = whole.map(lambda path: "**/" + path.rpartition("/")[2])
        contents = whole.map(lambda path: path + "/**")
        start = whole.map(lambda path: path[:-1] + "?")
        general = general | whole | last | contents | start
    return node, tuple(draw(st.lists(general, max_size=4)))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=trees_with_excludes(), other=directories)
@example(case=({}, ()), other={b"nix": Link(b"..")})
@example(case=({b"nix": {b"store": {b"a": File()}}}, ("nix/store/?",)), other={})
@example(case=({}, ()), other={b"nix": {b"store": {b"a": File()}}})
def test_the_tar_is_that_of_the_tree_without_it(
    case: tuple[Node, tuple[str, ...]], other: Node
) -> None:
    """In the store, at the root and where trees are merged; in each dialect; fast or not."""
    node, excludes = case
    with temporary_directory() as whole, temporary_directory() as rest:
        write_store(whole, {PATH: node, OTHER: other})
        write_store(
            rest, {path: pruned(tree, excludes) for path, tree in ((PATH, node), (OTHER, other))}
        )
        for dialect in DIALECTS:
            for recipe in (
                recipe_of(PATH, OTHER, dialect=dialect),
                to_root(PATH, dialect=dialect),
                both(to_root(PATH, dialect=dialect), recipe_of(OTHER)),
                to_root(PATH, OTHER, dialect=dialect),
            ):
                recipe = replace(recipe, permissions=(Permission(".*/a", mode=0o600),))
                with_excludes = replace(recipe, excludes=excludes)
                try:
                    expected = tar_bytes(recipe, rest)
                except (CopiedStoreError, DuplicateDestinationError, HiddenStoreError) as error:
                    with pytest.raises(type(error)) as caught:
                        tar_bytes(with_excludes, whole)
                    if isinstance(error, DuplicateDestinationError):
                        assert caught.value.destination == error.destination
                    continue
                for fast in (True, False):
                    assert packed(with_excludes, whole, fast=fast) == expected


def names(recipe: LayerRecipe, store: Path) -> set[str]:
    """What is below `PATH`."""
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(recipe, str(store)))) as archive:
        return {name[len(PATH) :] for name in archive.getnames() if name.startswith(PATH[1:] + "/")}


def test_a_directory_stays_unless_it_matches_itself(tmp_path: Path) -> None:
    """Empty, if all that is in it stays out."""
    man: Node = {b"man": {b"man1": {b"ls.1": File()}}}
    write_store(str(tmp_path), {PATH: {b"share": man, b"man": {b"x": File(), b"y": Link(b"x")}}})
    for excludes, expected in (
        (("share/man/**",), {"share", "share/man", "man", "man/x", "man/y"}),
        (("share/man",), {"share", "man", "man/x", "man/y"}),
        (("**/man",), {"share"}),
        (("man/y", "**/man1"), {"share", "share/man", "man", "man/x"}),
        (("**",), set()),
    ):
        recipe = replace(recipe_of(PATH), excludes=excludes)
        assert names(recipe, tmp_path) == expected
    # The store path itself is there in any case.
    assert PATH[1:].encode() + b"/" in tar_bytes(recipe, str(tmp_path))


def test_what_is_excluded_is_not_read(tmp_path: Path) -> None:
    """A directory may hold what no layer can, on many levels."""
    write_store(str(tmp_path), {PATH: {b"a": File(), b"bad": {b"x": File()}}})
    top = f"{tmp_path}{PATH}"
    os.chmod(f"{top}/bad", 0o755)
    place = f"{top}/bad"
    for _ in range(1200):
        place += "/d"
        os.mkdir(place)
    os.mkfifo(f"{top}/bad/pipe")
    try:
        with pytest.raises(UnsupportedFileTypeError):
            tar_bytes(recipe_of(PATH), str(tmp_path))
        assert names(replace(recipe_of(PATH), excludes=("bad",)), tmp_path) == {"a"}
    finally:
        subprocess.run(["rm", "-rf", f"{top}/bad"], check=True)


def test_what_differs_is_no_contradiction_if_it_is_excluded(tmp_path: Path) -> None:
    """Two trees that are copied to the root need only agree in what they bring."""
    trees = {PATH: {b"info": {b"dir": File(b"1")}}, OTHER: {b"info": {b"dir": File(b"2")}}}
    write_store(str(tmp_path), trees)
    with pytest.raises(DuplicateDestinationError):
        tar_bytes(to_root(PATH, OTHER), str(tmp_path))
    tar_bytes(replace(to_root(PATH, OTHER), excludes=("info/dir",)), str(tmp_path))


@pytest.mark.parametrize("exclude", ["nix", "nix/store", "nix/store/*", "nix/**"])
def test_a_copied_store_may_be_excluded(tmp_path: Path, exclude: str) -> None:
    """Then nothing is copied into the store of the image."""
    write_store(str(tmp_path), {PATH: {b"nix": {b"store": {b"x": File()}}, b"a": File()}})
    for excludes in ((), ("nix/store/y",)):
        with pytest.raises(CopiedStoreError):
            tar_bytes(replace(to_root(PATH), excludes=excludes), str(tmp_path))
    assert b"store/x" not in tar_bytes(replace(to_root(PATH), excludes=(exclude,)), str(tmp_path))


def test_stray_bytes_are_characters_of_their_own(tmp_path: Path) -> None:
    """As in permissions: names that are no UTF-8 can be matched, and never stop a pattern."""
    write_store(str(tmp_path), {PATH: {b"a\xff": File(), b"a\n": File(), "aé".encode(): File()}})
    assert names(replace(recipe_of(PATH), excludes=("a?",)), tmp_path) == set()
    assert names(replace(recipe_of(PATH), excludes=("a\udcff",)), tmp_path) == {"a\n", "aé"}
