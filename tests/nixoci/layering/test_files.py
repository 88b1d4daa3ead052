"""Tests of `nixoci.layering.files`."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.layering import files
from nixoci.layering.collisions import FileCollisionError, require_no_collision
from nixoci.layering.files import FileGroup
from nixoci.recipe.files import FileEntry, FilesRecipe
from nixoci.recipe.layer import Owner

SHA256 = "0" * 64


def directory(path: str, mode: int = 0o755, uid: int = 0) -> FileEntry:
    return FileEntry(path, mode, Owner(uid, 0, "" if uid else "root"))


def text(path: str, content: str = "") -> FileEntry:
    return FileEntry(path, 0o444, text=content)


def group(*entries: FileEntry) -> FileGroup:
    return FileGroup("somebody", entries)


def layers_of_files(
    system: Sequence[FileGroup], contents: Sequence[Sequence[FileGroup]]
) -> tuple[Optional[FilesRecipe], ...]:
    """As a rule makes the layers: if there are no collisions."""
    groups = [group for layer in (system, *contents) for group in layer]
    require_no_collision(group.occupant() for group in groups)
    return files.layers_of_files(system, contents)


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(lambda n: "/" + "/".join(n))
ENTRIES = st.one_of(
    st.builds(directory, PATHS, st.sampled_from([0o755, 0o1777]), st.sampled_from([0, 7])),
    st.builds(text, PATHS, st.sampled_from(["", "x"])),
    st.builds(FileEntry, PATHS, st.just(0o777), target=st.just("x")),
)
GROUPS = st.lists(ENTRIES, max_size=3).map(lambda entries: group(*entries))


def unpacked(recipes: tuple[Optional[FilesRecipe], ...]) -> dict[str, FileEntry]:
    """What an engine has after it unpacked the layers in order."""
    tree: dict[str, FileEntry] = {}
    for recipe in recipes:
        for entry in recipe.entries if recipe else ():
            tree[entry.path] = entry
    return tree


@given(GROUPS, st.lists(GROUPS, max_size=3))
def test_layers_make_one_tree(system: FileGroup, contents: list[FileGroup]) -> None:
    """What is asked for is there, each thing in one layer; whoever writes a directory writes the same."""
    try:
        recipes = layers_of_files([system], [[one] for one in contents])
    except FileCollisionError:
        return
    tree = unpacked(recipes)
    leaves: list[str] = []
    for recipe in recipes:
        for entry in recipe.entries if recipe else ():
            assert tree[entry.path] == entry
            if not entry.is_directory:
                leaves.append(entry.path)
    assert len(leaves) == len(set(leaves))
    asked = [entry for one in (system, *contents) for entry in one.entries]
    assert {entry.path for entry in asked} <= set(tree)
    assert all(tree[entry.path] == entry for entry in asked if not entry.is_directory)
    first = {}
    for entry in asked:
        if entry.is_directory:
            first.setdefault(entry.path, entry)
    # The first one that says what a directory is like is right.
    assert all(tree[path] == entry for path, entry in first.items())
    # Nobody asked for the others: they are the directories of what is below.
    assert all(
        tree[path] == directory(path) for path in set(tree) - {entry.path for entry in asked}
    )


@given(GROUPS, st.lists(GROUPS, max_size=3), st.randoms())
def test_no_order_within_a_group(system: FileGroup, contents: list[FileGroup], random: Any) -> None:
    """Nor how often one has an entry: the recipes are the same, and so is whether there are some."""
    shuffled = []
    for one in (system, *contents):
        entries = [*one.entries, *one.entries]
        random.shuffle(entries)
        shuffled.append([group(*entries)])
    try:
        expected = layers_of_files([system], [[one] for one in contents])
    except FileCollisionError:
        with pytest.raises(FileCollisionError):
            layers_of_files(shuffled[0], shuffled[1:])
        return
    assert layers_of_files(shuffled[0], shuffled[1:]) == expected


@given(GROUPS, st.lists(GROUPS, max_size=3))
def test_groups_that_share_a_layer_bring_the_same(system: FileGroup, contents: list[FileGroup]) -> None:
    """However many layers there may be, the image has the same tree."""
    try:
        apart = layers_of_files([system], [[one] for one in contents])
    except FileCollisionError:
        with pytest.raises(FileCollisionError):
            layers_of_files([system], [contents])
        return
    assert unpacked(layers_of_files([system], [contents])) == unpacked(apart)
    assert unpacked(layers_of_files([system, *contents], [])) == unpacked(apart)


@pytest.mark.parametrize("system, contents", [([0, 1], []), ([0], [1]), ([], [0, 1])])
def test_the_first_of_two_groups_says_what_a_directory_is_like(
    system: list[int], contents: list[int]
) -> None:
    """In all layers, those of other groups and lower ones among them."""
    groups = group(directory("/a/b", 0o1777, 7)), group(directory("/a/b"), text("/a/b/c"))
    made = layers_of_files([groups[i] for i in system], [[groups[i]] for i in contents])
    found = [entry for recipe in made if recipe for entry in recipe.entries if entry.path == "/a/b"]
    assert set(found) == {directory("/a/b", 0o1777, 7)}


def test_parents_in_lower_layers_are_as_a_higher_group_says() -> None:
    """A directory that a lower layer merely needs has mode and owner already there."""
    layers = layers_of_files([], [[group(text("/a/b/c"))], [group(directory("/a/b", 0o700, 7))]])
    assert [[e for e in one.entries if e.path == "/a/b"] for one in layers if one] == [
        [directory("/a/b", 0o700, 7)],
        [directory("/a/b", 0o700, 7)],
    ]


def test_one_group_with_two_ways_that_a_directory_is() -> None:
    """No order says which is right."""
    with pytest.raises(FileCollisionError, match="/a is brought by two, differently: somebody and"):
        layers_of_files([group(directory("/a"), directory("/a", 0o700))], [])


def test_what_is_nowhere_makes_no_layer() -> None:
    assert layers_of_files([], []) == (None,)
    assert layers_of_files([group()], [[group()], []]) == (None, None, None)


def test_a_layer_without_anything_new_is_none() -> None:
    """The places of layers stay, so that their targets are known."""
    same = group(text("/a"))
    assert [recipe is None for recipe in layers_of_files([], [[same], [same]])] == [True, False, True]


@pytest.mark.parametrize(
    "one, other, path",
    [
        (text("/a"), text("/a", "x"), "/a"),
        (text("/a"), FileEntry("/a", 0o644, text=""), "/a"),
        (text("/a"), FileEntry("/a", 0o777, target="x"), "/a"),
        (text("/a"), directory("/a"), "/a"),
        (text("/a"), text("/a/b"), "/a"),
        (text("/a"), text("/a/b/c"), "/a"),
        (FileEntry("/a", 0o777, target="b"), text("/a/b"), "/a"),
        (FileEntry("/a", 0o777, target="b"), directory("/a/b"), "/a"),
    ],
)
def test_collisions(one: FileEntry, other: FileEntry, path: str) -> None:
    """Of two groups, in one layer or in two, in either order; the error names both."""
    groups = FileGroup("the one", (one,)), FileGroup("the other", (other,))
    for system, contents in (
        (groups, []),
        (groups[:1], [groups[1:]]),
        ([], [groups[1:], groups[:1]]),
    ):
        with pytest.raises(FileCollisionError) as caught:
            layers_of_files(system, contents)
        assert caught.value.path == path
        assert set(caught.value.origins) == {"the one", "the other"}


def test_files_over_those_of_a_group_below() -> None:
    """What may replace a file is above it; a directory is not replaced, nor what another group has."""
    below = FileGroup("below", (text("/app/a", "old"), text("/app/b"), directory("/app/d")))
    above = FileGroup("above", (text("/app/a", "new"), text("/app/b")), ("below",))
    first, second = (recipe for recipe in layers_of_files([], [[below], [above]]) if recipe)
    assert text("/app/a", "old") in first.entries and text("/app/a", "new") in second.entries
    assert text("/app/b") not in second.entries
    # In one layer there is one file.
    merged = layers_of_files([], [[below, above]])[1]
    assert merged is not None and text("/app/a", "new") in merged.entries
    # What is there is what was put there last.
    for third in (text("/app/a", "old"), text("/app/a", "other")):
        with pytest.raises(FileCollisionError, match="above and third"):
            layers_of_files([], [[below], [above], [FileGroup("third", (third,))]])
        over = FileGroup("third", (third,), ("above",))
        top = layers_of_files([], [[below], [above], [over]])[-1]
        assert top is not None and third in top.entries
    for entry, over in (
        (text("/app/d"), ("below",)),
        (text("/app/a", "new"), ()),
        (text("/app/a", "new"), ("somebody",)),
    ):
        with pytest.raises(FileCollisionError):
            layers_of_files([], [[below], [FileGroup("above", (entry,), over)]])
