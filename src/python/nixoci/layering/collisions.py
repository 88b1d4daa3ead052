"""What layers put at one place of an image: the same, or a collision.

A file that an upper layer has hides that of a lower one, and a link there hides a whole directory. Nothing says
so when an image is built or unpacked, so it has to be found before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nixoci.errors import NixOciError
from nixoci.recipe.globs import glob_expression
from nixoci.recipe.layer import DIALECTS, ROOT, LayerRecipe, Owner, Permission
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping, Optional, Sequence


@dataclass(frozen=True)
class Thing:
    """What is at a place, if that is no directory. What is equal may be there twice.

    :param mode: permission bits.
    :param contents: that tells it from others, such as the digest of a file; empty if it equals nothing.
    """

    mode: int = 0
    owner: Owner = Owner()
    contents: str = ""


#: Of a thing that nothing is compared with.
UNKNOWN = Thing()


@dataclass(frozen=True)
class Occupant:
    """Who puts things at places of an image.

    :param origin: for people.
    :param places: by absolute path; None is a directory.
    :param rank: of the target: things of a lower rank may be shadowed.
    :param shadows: patterns of absolute paths where it may replace what is below it, see
        `nixoci.recipe.globs`.
    :param over: origins of those whose files it may replace anywhere.
    """

    origin: str
    places: Mapping[str, Optional[Thing]] = field(hash=False)
    rank: int = 0
    shadows: tuple[str, ...] = ()
    over: tuple[str, ...] = ()

    def shadowing(self, path: str) -> Optional[str]:
        """Returns the first of the patterns that allows to replace what is at a path."""
        for pattern in self.shadows:
            if re.fullmatch(glob_expression((pattern[1:],)), path[1:]):
                return pattern
        return None


def copied_thing(recipe: LayerRecipe, path: str, mode: int, contents: str) -> Thing:
    """Returns what a recipe has at a place, with its permissions.

    :param mode: without these.
    :param contents: as `Thing.contents`; that of a link begins with `link:`.
    """
    owner = Owner()
    capabilities: tuple[str, ...] = ()
    is_link = contents.startswith("link:")
    for permission in recipe.permissions:
        if permission.matches(path):
            if permission.mode is not None and not (is_link and recipe.dialect == DIALECTS[0]):
                mode = permission.mode
            owner = permission.change(owner)
            capabilities = permission.capabilities or capabilities
    if not is_link:
        contents = " ".join((contents, *capabilities))
    return Thing(mode, owner, contents)


def differing_permissions(
    recipes: Iterable[LayerRecipe]
) -> Optional[tuple[StorePath, LayerRecipe, LayerRecipe]]:
    """Returns a store path that is in the store of two layers with different permissions, and the layers.

    The upper one would undo what the lower one says.

    :param recipes: bottom first.
    """
    found: dict[StorePath, tuple[LayerRecipe, tuple[Permission, ...]]] = {}
    for recipe in recipes:
        for entry in recipe.entries:
            if entry.destination != ROOT:
                mine = tuple(p for p in recipe.permissions if p.may_match(entry.path))
                other, theirs = found.setdefault(entry.path, (recipe, mine))
                if theirs != mine:
                    return entry.path, other, recipe
    return None


class FileCollisionError(NixOciError):
    """Two contradict each other.

    :param path: where in the image.
    :param origins: of the two, the lower one first.
    :param may_shadow: whether the upper one might be allowed to replace it.
    """

    def __init__(
        self, path: str, origins: tuple[str, str], why: str, may_shadow: bool = False
    ) -> None:
        self.path = path
        self.origins = origins
        self.may_shadow = may_shadow
        super().__init__(f"{path} is {why}: {origins[0]} and {origins[1]}.")


def shared_places(occupants: Sequence[Occupant]) -> tuple[tuple[str, ...], ...]:
    """Returns for each occupant the places where it has no directory and another one has none either.

    Only there it matters what it has.
    """
    once: set[str] = set()
    twice: set[str] = set()
    for occupant in occupants:
        things = {path for path, thing in occupant.places.items() if thing is not None}
        twice |= once & things
        once |= things
    return tuple(
        tuple(sorted(path for path in twice if occupant.places.get(path) is not None))
        for occupant in occupants
    )


def require_no_collision(occupants: Iterable[Occupant]) -> frozenset[str]:
    """Checks that what is put into an image is there when all of it is.

    :param occupants: bottom first.
    :returns: the patterns of `shadows` that were needed.
    :raises FileCollisionError: two put different things at one place, or one has a directory where the other
        one has something else.
    """
    needed: set[str] = set()
    found: dict[str, tuple[Optional[Thing], Occupant]] = {}
    for occupant in occupants:
        for path, thing in occupant.places.items():
            there = found.setdefault(path, (thing, occupant))
            other, lower = there
            if lower is occupant or (thing == other and thing != UNKNOWN):
                continue
            files = thing is not None and other is not None
            pattern = occupant.shadowing(path) if lower.rank < occupant.rank else None
            if pattern is not None:
                needed.add(pattern)
            elif not (files and lower.origin in occupant.over):
                raise FileCollisionError(
                    path,
                    (lower.origin, occupant.origin),
                    "brought by two, differently" if files else _why(path, lower, occupant),
                    lower.rank < occupant.rank,
                )
            found[path] = (thing, occupant)
    return frozenset(needed)


def _why(path: str, *occupants: Occupant) -> str:
    """Says what is wrong where one has a directory and the other one has none."""
    for occupant in occupants:
        for other in occupant.places:
            if other.startswith(f"{path}/"):
                return f"no directory, but {other} is below it"
    return "a directory of one, and none of the other"
