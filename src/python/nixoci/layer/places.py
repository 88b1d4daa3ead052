"""What an entry of a recipe brings to the image: places and kinds, without contents."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from nixoci.recipe.layer import ROOT, LayerRecipe, RecipeEntry
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.errors import StorePathMissingError, StorePathUnreadableError
from nixoci.tar.excludes import excluded_by
from nixoci.tar.names import names_in_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.store.case_hack import HasCaseHack


class Place(NamedTuple):
    """:ivar path: in the image.
    :ivar location: on the disk.
    :ivar kind: `stat.S_IFDIR`, `stat.S_IFLNK`, or `stat.S_IFREG` for anything else.
    """

    path: str
    location: str
    kind: int


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
    below = ""
    try:
        kind = _kind(os.lstat(location).st_mode)
        if top:
            yield Place(top, location, kind)
        # Each directory as it is in the image, and on the disk.
        waiting = [("", location)] if kind == stat.S_IFDIR else []
        while waiting:
            below, location = waiting.pop()
            with os.scandir(location) as found:
                items = {item.name: item for item in found}
            names = names_in_layer(entry.path, below, items, excluded, has_case_hack)
            for name, on_disk in names.items():
                kind = _kind_of(items[on_disk])
                place = Place(f"{top}/{below}{name}", f"{location}/{on_disk}", kind)
                yield place
                if kind == stat.S_IFDIR:
                    waiting.append((f"{below}{name}/", place.location))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not below:
            raise StorePathMissingError(entry.path, location) from None
        raise StorePathUnreadableError(
            entry.path, below.rstrip("/"), error.errno, error.strerror or str(error)
        ) from None


def _kind(mode: int) -> int:
    kind = stat.S_IFMT(mode)
    return kind if kind in (stat.S_IFDIR, stat.S_IFLNK) else stat.S_IFREG


def _kind_of(item: os.DirEntry[str]) -> int:
    # Known without another system call.
    if item.is_symlink():
        return stat.S_IFLNK
    return stat.S_IFDIR if item.is_dir(follow_symlinks=False) else stat.S_IFREG
