"""What a recipe copies to the root of the image: places and kinds, without contents."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable

from nixoci.descent import OPEN_FILE
from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.layer.places import places
from nixoci.recipe.layer import ROOT, LayerRecipe
from nixoci.sha256 import sha256
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.dialect import DIALECTS
from nixoci.tar.errors import StorePathUnreadableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

    from nixoci.descent import Item
    from nixoci.store.case_hack import HasCaseHack

_CHUNK_SIZE = 256 * 1024


def copied_tree(
    recipe: LayerRecipe, store_root: str = "", has_case_hack: HasCaseHack = without_case_hack
) -> dict[str, bool]:
    """Returns for each path in the image that the recipe copies there whether it is a directory.

    What it excludes is not there.

    :param store_root: and `has_case_hack`, see `nixoci.tar.pack.write_tar`.
    :raises StorePathMissingError: and others, see `nixoci.layer.places`.
    """
    return {
        place.path: place.item.kind == stat.S_IFDIR
        for entry in recipe.entries
        if entry.destination == ROOT
        for place in places(recipe, entry, store_root, has_case_hack)
    }


def things_of_tree(
    recipe: LayerRecipe,
    paths: Iterable[str],
    store_root: str = "",
    has_case_hack: HasCaseHack = without_case_hack,
) -> dict[str, tuple[int, str]]:
    """Returns mode and contents of files and links that the recipe copies to the root.

    :param paths: some of those in `copied_tree`, none of them a directory.
    :returns: permission bits as they are in the layer, where no permission says others; and `sha256:<hex>`
        of a file's contents, or `link:` with the target.
    :raises StorePathMissingError: and others, as `copied_tree`.
    """
    wanted = set(paths)
    file_mode = DIALECTS[recipe.dialect].file_mode
    found: dict[str, tuple[int, str]] = {}
    for entry in recipe.entries:
        if entry.destination != ROOT:
            continue
        for place in places(recipe, entry, store_root, has_case_hack):
            item = place.item
            # What two entries bring to one place is the same.
            if place.path not in wanted or place.path in found or item.kind == stat.S_IFDIR:
                continue
            try:
                if item.kind == stat.S_IFLNK:
                    target = os.readlink(item.name, dir_fd=item.parent)
                    found[place.path] = 0o777, f"link:{target}"
                else:
                    mode, digest = _digest(item)
                    found[place.path] = file_mode(mode), f"sha256:{digest}"
            except OSError as error:
                raise StorePathUnreadableError(
                    entry.path, place.path[1:], error.errno, error.strerror or str(error)
                ) from None
    return found


def _digest(item: Item) -> tuple[int, str]:
    """Returns `st_mode` of a file, and the SHA-256 of its contents in hex."""
    contents = sha256()
    with open(os.open(item.name, OPEN_FILE, dir_fd=item.parent), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        for chunk in iter(lambda: file.read(_CHUNK_SIZE), b""):
            contents.update(chunk)
        return mode, contents.hexdigest()


def tree_to_json(tree: Mapping[str, bool]) -> bytes:
    """Returns the one JSON form of a tree. Names that are no UTF-8 have lone surrogates in it."""
    document = {
        "directories": sorted(path for path, is_directory in tree.items() if is_directory),
        "others": sorted(path for path, is_directory in tree.items() if not is_directory),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def tree_from_json(data: bytes) -> dict[str, bool]:
    """Parses what `tree_to_json` returned.

    :raises InvalidInputError: not such a document.
    """
    document = parse_object("copied tree", data)
    return {
        path: name == "directories"
        for name in ("directories", "others")
        for path in get_list(document, name, str)
    }


def things_to_json(things: Mapping[str, tuple[int, str]]) -> bytes:
    """Returns the one JSON form of what `things_of_tree` returned."""
    document = {path: f"{mode:04o} {contents}" for path, (mode, contents) in things.items()}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def things_from_json(data: bytes) -> dict[str, tuple[int, str]]:
    """Parses what `things_to_json` returned.

    :raises InvalidInputError: not such a document.
    """
    document = parse_object("things in a copied tree", data)
    found = {}
    for path in document:
        mode, _, contents = get_field(document, path, str).partition(" ")
        if not re.fullmatch("[0-7]{4}", mode):
            raise InvalidInputError(f"mode of {path}", mode, "expected four octal digits")
        found[path] = int(mode, 8), contents
    return found
