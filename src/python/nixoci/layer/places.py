"""What an entry of a recipe brings to the image: places and kinds, without contents."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator

from nixoci.descent import walk
from nixoci.recipe.layer import ROOT, LayerRecipe, RecipeEntry
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.errors import StorePathMissingError, StorePathUnreadableError
from nixoci.tar.excludes import excluded_by
from nixoci.tar.names import names_in_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.store.case_hack import HasCaseHack


class Place(namedtuple("Place", ("path", "item"))):
    """:ivar path: in the image.
    :ivar item: on the disk.
    """

    __slots__ = ()


def places(
    recipe: LayerRecipe,
    entry: RecipeEntry,
    store_root: str = "",
    has_case_hack: HasCaseHack = without_case_hack,
) -> Iterator[Place]:
    """Yields what an entry brings, each directory before what is in it; what the recipe excludes is not there.

    A store path that is copied to the root and is no directory brings nothing; the digest says so.

    :param store_root: and `has_case_hack`, see `nixoci.tar.pack.write_tar`.
    :raises StorePathMissingError: the store path is not there. `StorePathUnreadableError` likewise.
    :raises ReservedNameError: and `CaseHackError`, see `names_in_layer`.
    """
    excluded = excluded_by(recipe.excludes)
    top = "" if entry.destination == ROOT else str(entry.destination)
    location = store_root + entry.path
    last = None

    def choose(below: str, names: list[str]) -> dict[str, str]:
        return names_in_layer(entry.path, below, names, excluded, has_case_hack)

    try:
        for last in walk(location, choose):
            if last.depth:
                yield Place(f"{top}/{last.path}", last)
            elif top:
                yield Place(top, last)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and last is None:
            raise StorePathMissingError(entry.path, location) from None
        raise StorePathUnreadableError(
            entry.path, last.path if last else "", error.errno, error.strerror or str(error)
        ) from None
