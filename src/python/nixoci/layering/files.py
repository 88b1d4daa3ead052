"""Files for an image → the recipes of its layers of files, and what two of them contradict in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional, Sequence

from nixoci.errors import NixOciError
from nixoci.recipe.files import FileEntry, FilesRecipe, with_directories
from nixoci.recipe.layer import LayerRecipe, Owner


@dataclass(frozen=True)
class FileGroup:
    """Files that come from one place.

    :param origin: who brings them, for people.
    :param entries: without the directories that they are in, unless mode and owner of one matter.
    :param over: groups below whose files these may replace, by their origins.
    """

    origin: str
    entries: tuple[FileEntry, ...]
    over: tuple[str, ...] = ()


class FileCollisionError(NixOciError):
    """Two groups contradict each other.

    :param path: where in the image.
    :param origins: of the two.
    """

    def __init__(self, path: str, origins: tuple[str, str], why: str) -> None:
        self.path = path
        self.origins = origins
        super().__init__(f"{path} is {why}: {origins[0]} and {origins[1]}.")


def layers_of_files(
    system: Sequence[FileGroup], contents: Sequence[Sequence[FileGroup]]
) -> tuple[Optional[FilesRecipe], ...]:
    """Returns the recipes of layers, bottom first; None for a layer with nothing that is not below it.

    :param system: what is in the first layer: directories, accounts, links. A directory that is here has
        its mode and owner in every layer.
    :param contents: the groups of each further layer.
    :raises FileCollisionError: two groups put different things at one place, or one of them something
        below what is no directory in the other; or one group has two ways that a directory is.
    """
    layers = [system, *contents]
    groups = [group for layer in layers for group in layer]
    _require_no_collision(groups)
    known = {
        entry.path: entry
        for group in reversed(groups)
        for entry in reversed(group.entries)
        if entry.is_directory
    }
    there: dict[str, FileEntry] = {}
    recipes: list[Optional[FilesRecipe]] = []
    for layer in layers:
        # What a group has over another one of the same layer comes after it.
        by_path = {e.path: known.get(e.path, e) for group in layer for e in group.entries}
        new = [entry for entry in by_path.values() if there.get(entry.path) != entry]
        there.update(by_path)
        recipes.append(FilesRecipe(with_directories(new, known)) if new else None)
    return tuple(recipes)


def _require_no_collision(groups: Iterable[FileGroup]) -> None:
    found: dict[str, tuple[FileEntry, FileGroup]] = {}
    for group in groups:
        for entry in group.entries:
            other, first = found.setdefault(entry.path, (entry, group))
            # Of directories in two groups the first one counts: groups that say what a directory is
            # like come before those that merely have one. In one group there is no first.
            both = other.is_directory and entry.is_directory and first is not group
            replaced = first.origin in group.over and not (other.is_directory or entry.is_directory)
            if other != entry and not both and not replaced:
                raise FileCollisionError(
                    entry.path, (first.origin, group.origin), "brought by two, differently"
                )
            if replaced:
                found[entry.path] = (entry, group)
    for path, (entry, group) in found.items():
        above = entry.parent
        while above != "/":
            if above in found and not found[above][0].is_directory:
                raise FileCollisionError(
                    above, (found[above][1].origin, group.origin), f"no directory, but {path} is below it"
                )
            above = above.rpartition("/")[0] or "/"


def copied_directories(
    recipe: LayerRecipe, tree: Mapping[str, bool], paths: Iterable[str]
) -> dict[str, FileEntry]:
    """Returns those of `paths` that a layer copies to the root as directories, as they are in it.

    :param tree: what the recipe copies, by absolute path, whether it is a directory.
    """
    found = {}
    for path in paths:
        if tree.get(path):
            mode, owner = recipe.mode_of_copied_directory, Owner()
            for permission in recipe.permissions:
                if re.fullmatch(permission.path, path):
                    mode = mode if permission.mode is None else permission.mode
                    owner = permission.change(owner)
            found[path] = FileEntry(path, mode, owner)
    return found


def over_directories(recipe: FilesRecipe, below: Mapping[str, FileEntry]) -> FilesRecipe:
    """Returns a recipe that writes directories of lower layers as they are there.

    Only what nobody has said anything of is changed: directories with mode 0755 that belong to root.
    """
    return FilesRecipe(
        tuple(
            below.get(entry.path, entry) if entry == FileEntry(entry.path, 0o755) else entry
            for entry in recipe.entries
        )
    )


def require_no_collision_with_tree(
    recipes: Sequence[FilesRecipe], tree: Mapping[str, bool], origin: str
) -> None:
    """Checks layers of files against what lies below them.

    :param tree: by absolute path, whether it is a directory.
    :param origin: who brings the tree, for people.
    :raises FileCollisionError: a file or link of the tree is hidden, or is above a file.
    """
    for recipe in recipes:
        for entry in recipe.entries:
            there = tree.get(entry.path)
            if there is not None and not (there and entry.is_directory):
                raise FileCollisionError(
                    entry.path, (origin, recipe.summary), "brought by two, differently"
                )
