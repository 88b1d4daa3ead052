"""Tests of `nixoci.layering.collisions`; those of files are in `test_files`."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.layering.collisions import (
    UNKNOWN,
    FileCollisionError,
    Occupant,
    Thing,
    copied_thing,
    differing_permissions,
    require_no_collision,
    shared_places,
)
from nixoci.layering.files import FileGroup
from nixoci.recipe.files import FileEntry
from nixoci.recipe.layer import LayerRecipe, Owner, Permission

from tests.nixoci.tar.tar_support import recipe_of, store_path

FILE = Thing(0o444, contents="sha256:1")
OTHER = Thing(0o444, contents="sha256:2")


def occupant(
    name: str, places: dict[str, Optional[Thing]], rank: int = 0, *shadows: str
) -> Occupant:
    return Occupant(name, places, rank, shadows)


@pytest.mark.parametrize(
    "below, above, path",
    [
        ({"/a": FILE}, {"/a": OTHER}, "/a"),
        ({"/a": FILE}, {"/a": None}, "/a"),
        ({"/a": None, "/a/b": FILE}, {"/a": FILE}, "/a"),
        ({"/a": UNKNOWN}, {"/a": UNKNOWN}, "/a"),
        ({"/a": FILE}, {"/a": Thing(0o644, contents=FILE.contents)}, "/a"),
        ({"/a": FILE}, {"/a": Thing(0o444, Owner(7), FILE.contents)}, "/a"),
    ],
)
def test_what_differs(below: Any, above: Any, path: str) -> None:
    """In either order; the lower one is named first."""
    for one, other in ((below, above), (above, below)):
        with pytest.raises(FileCollisionError) as caught:
            require_no_collision([occupant("one", one), occupant("other", other)])
        assert (caught.value.path, caught.value.origins) == (path, ("one", "other"))
        assert not caught.value.may_shadow
        with pytest.raises(FileCollisionError) as caught:
            require_no_collision([occupant("one", one), occupant("other", other, 1)])
        assert caught.value.may_shadow


@pytest.mark.parametrize("places", [{"/a": FILE}, {"/a": None}, {"/a": None, "/a/b": FILE}])
def test_what_is_equal(places: Any) -> None:
    assert require_no_collision([occupant("one", places), occupant("other", places)]) == frozenset()


@pytest.mark.parametrize(
    "pattern, allowed",
    [
        ("/etc/x", True),
        ("/etc/?", True),
        ("/etc/*", True),
        ("/**", True),
        ("/etc/**", True),
        ("/etc", False),
        ("/etc/x/**", False),
        ("/*", False),
    ],
)
def test_shadows(pattern: str, allowed: bool) -> None:
    """A pattern allows to replace what is at the path that it matches, of lower ranks."""
    lower = occupant("lower", {"/etc": None, "/etc/x": FILE})
    upper = occupant("upper", {"/etc": None, "/etc/x": OTHER}, 1, "/nothing", pattern)
    if allowed:
        assert require_no_collision([lower, upper]) == {pattern}
    else:
        with pytest.raises(FileCollisionError):
            require_no_collision([lower, upper])
    with pytest.raises(FileCollisionError):
        require_no_collision([lower, occupant("upper", {"/etc/x": OTHER}, 0, pattern)])


def test_what_is_there_is_what_was_put_there_last() -> None:
    """A third one is compared with that."""
    layers = [
        occupant("one", {"/a": FILE}),
        occupant("two", {"/a": OTHER}, 1, "/a"),
        occupant("three", {"/a": OTHER}, 2),
    ]
    assert require_no_collision(layers) == {"/a"}
    with pytest.raises(FileCollisionError) as caught:
        require_no_collision([*layers[:2], occupant("three", {"/a": FILE}, 2)])
    assert caught.value.origins == ("two", "three")


_PLACES = st.dictionaries(
    st.sampled_from(["/a", "/a/b", "/c"]), st.sampled_from([None, FILE, OTHER])
)


@given(st.lists(_PLACES, max_size=4))
def test_only_shared_places_are_read(stack: list[dict[str, Optional[Thing]]]) -> None:
    """Whether there is a collision does not depend on what is anywhere else."""
    occupants = [occupant(str(number), places) for number, places in enumerate(stack)]
    read = shared_places(occupants)
    known = [
        occupant(
            one.origin,
            {
                path: thing if thing is None or path in paths else UNKNOWN
                for path, thing in one.places.items()
            },
        )
        for one, paths in zip(occupants, read)
    ]

    def collides(some: list[Occupant]) -> bool:
        try:
            require_no_collision(some)
        except FileCollisionError:
            return True
        return False

    assert collides(known) == collides(occupants)


@pytest.mark.parametrize(
    "entry, contents",
    [
        (FileEntry("/a", 0o444, sha256="1" * 64), "sha256:" + "1" * 64),
        (FileEntry("/a", 0o777, target="x"), "link:x"),
    ],
)
def test_copied_things_and_files_are_compared(entry: FileEntry, contents: str) -> None:
    """What a tree copies to the root and what Pants brings are told from each other by the same things."""
    places = FileGroup("files", (entry,)).occupant().places
    assert places["/a"] == copied_thing(LayerRecipe(()), "/a", entry.mode, contents)


@pytest.mark.parametrize("dialect, mode", [("oci", 0o777), ("nix2container", 0o700)])
def test_permissions_of_copied_things(dialect: str, mode: int) -> None:
    """As the tar has them: see `nixoci.tar.permissions`."""
    permissions = (
        Permission("/a", mode=0o600, uid=1),
        Permission("/.*", mode=0o700, capabilities=("cap_kill",)),
        Permission("/other", uid=2),
    )
    recipe = LayerRecipe((), permissions, dialect=dialect)
    owner = Owner(1, 0, "root", "root")
    assert copied_thing(recipe, "/a", 0o444, "sha256:1") == Thing(0o700, owner, "sha256:1 cap_kill")
    assert copied_thing(recipe, "/a", 0o777, "link:x") == Thing(mode, owner, "link:x")


def test_store_paths_with_differing_permissions() -> None:
    """Only those count that may apply to the path."""
    one, two, other = store_path("one", "1"), store_path("two", "2"), store_path("other", "3")
    setuid = Permission(f"{one}/bin/su", mode=0o4755)
    elsewhere = Permission(f"{two}/.*", uid=7)

    def recipe(*paths: Any, permissions: tuple[Permission, ...] = ()) -> LayerRecipe:
        return LayerRecipe(recipe_of(*paths).entries, permissions)

    low = recipe(one, permissions=(setuid,))
    assert differing_permissions([low, recipe(one, two)]) == (one, low, recipe(one, two))
    same = recipe(one, two, permissions=(setuid, elsewhere))
    assert differing_permissions([low, same]) is None
    assert differing_permissions([low, recipe(two, other)]) is None
