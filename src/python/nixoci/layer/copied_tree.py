"""What a recipe copies to the root of the image: places and kinds, without contents."""

from __future__ import annotations

import json
import os
import re
from typing import Mapping

from nixoci.json_input import get_list, parse_object
from nixoci.recipe.globs import glob_expression
from nixoci.recipe.layer import ROOT, LayerRecipe
from nixoci.tar.errors import StorePathMissingError, StorePathUnreadableError


def copied_tree(recipe: LayerRecipe, store_root: str = "") -> dict[str, bool]:
    """Returns for each path in the image that the recipe copies there whether it is a directory.

    What it excludes is not there.

    :raises StorePathMissingError: a store path is not there. `StorePathUnreadableError` likewise.
    """
    excluded = re.compile(glob_expression(recipe.excludes)) if recipe.excludes else None
    tree: dict[str, bool] = {}
    for entry in recipe.entries:
        if entry.destination != ROOT:
            continue
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            location = store_root + entry.path + directory
            try:
                with os.scandir(location) as found:
                    for item in found:
                        path = f"{directory}/{item.name}"
                        if excluded is not None and excluded.fullmatch(path[1:]):
                            continue
                        is_directory = item.is_dir(follow_symlinks=False)
                        tree[path] = is_directory
                        if is_directory:
                            waiting.append(path)
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
