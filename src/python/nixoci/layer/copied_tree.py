"""What a recipe copies to the root of the image: places and kinds, without contents."""

from __future__ import annotations

import json
import os
from typing import Mapping

from nixoci.json_input import get_list, parse_object
from nixoci.recipe.layer import ROOT, LayerRecipe
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.errors import StorePathMissingError, StorePathUnreadableError
from nixoci.tar.excludes import excluded_by
from nixoci.tar.names import names_in_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.store.case_hack import HasCaseHack


def copied_tree(
    recipe: LayerRecipe, store_root: str = "", has_case_hack: HasCaseHack = without_case_hack
) -> dict[str, bool]:
    """Returns for each path in the image that the recipe copies there whether it is a directory.

    What it excludes is not there.

    :param store_root: and `has_case_hack`, see `nixoci.tar.pack.write_tar`.
    :raises StorePathMissingError: a store path is not there. `StorePathUnreadableError` likewise.
    :raises ReservedNameError: and `CaseHackError`, see `names_in_layer`.
    """
    excluded = excluded_by(recipe.excludes)
    tree: dict[str, bool] = {}
    for entry in recipe.entries:
        if entry.destination != ROOT:
            continue
        # Each directory as it is in the image, and on the disk.
        waiting = [("", store_root + entry.path)]
        while waiting:
            directory, location = waiting.pop()
            try:
                with os.scandir(location) as found:
                    items = {item.name: item for item in found}
                below = f"{directory[1:]}/" if directory else ""
                names = names_in_layer(entry.path, below, items, excluded, has_case_hack)
                for name, on_disk in names.items():
                    is_directory = items[on_disk].is_dir(follow_symlinks=False)
                    tree[f"{directory}/{name}"] = is_directory
                    if is_directory:
                        waiting.append((f"{directory}/{name}", f"{location}/{on_disk}"))
            except FileNotFoundError:
                raise StorePathMissingError(entry.path, location) from None
            except NotADirectoryError:
                # A store path that is a file has no place at the root; the digest says so.
                continue
            except OSError as error:
                raise StorePathUnreadableError(
                    entry.path, directory[1:], error.errno, error.strerror or str(error)
                ) from None
    return tree


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
