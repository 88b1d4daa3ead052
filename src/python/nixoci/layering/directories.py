"""Layers that write one directory → what it is like in the image.

Mode and owner of a directory are one fact of the image. But a tar cannot name a directory and leave it as it
is: who puts something into one that a lower layer has writes it again, with another mode and owner than that
layer meant it to have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nixoci.recipe.layer import ROOT, LayerRecipe, Owner, Permission

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping, Sequence

_ORDINARY_MODE = 0o755

#: What every layer with store paths writes, with the ordinary mode.
_STORE_DIRECTORIES = ("/nix", "/nix/store")


@dataclass(frozen=True)
class Directory:
    """:param path: absolute.
    :param mode: permission bits.
    """

    path: str
    mode: int = _ORDINARY_MODE
    owner: Owner = Owner()

    def as_permission(self) -> Permission:
        """Returns the permission that makes the directory, and nothing else, so."""
        owner = self.owner
        return Permission(
            re.escape(self.path),
            self.mode,
            owner.uid,
            owner.gid,
            owner.uname or None,
            owner.gname or None,
        )


@dataclass(frozen=True)
class DirectoriesBelow:
    """What directories of layers are meant to be like.

    :param special: those that have not mode 0755 or do not belong to root.
    :param spoiled: those of all that the uppermost layer writes otherwise.
    """

    special: tuple[Directory, ...] = ()
    spoiled: tuple[Directory, ...] = ()


def directories_below(
    layers: Iterable[tuple[LayerRecipe, Mapping[str, bool]]]
) -> DirectoriesBelow:
    """Returns what the directories of layers are meant to be like, for what lies above them.

    The permissions of a layer say what its directories are like. Of several layers that say it of one, the
    uppermost counts; of a directory that none says anything of, the uppermost as well.

    :param layers: bottom first; each with what it copies to the root: by absolute path, whether it is a
        directory.
    """
    meant: dict[str, Directory] = {}
    uppermost: dict[str, Directory] = {}
    said: set[str] = set()
    for recipe, tree in layers:
        for path in _written(recipe, tree):
            matching = [
                permission
                for permission in recipe.permissions
                if (permission.mode is not None or permission.changes_owner)
                and permission.matches(path)
            ]
            uppermost[path] = _directory(recipe, path, matching)
            if matching:
                said.add(path)
            if matching or path not in said:
                meant[path] = uppermost[path]
    every = sorted(meant.items())
    return DirectoriesBelow(
        tuple(directory for path, directory in every if directory != Directory(path)),
        tuple(directory for path, directory in every if directory != uppermost[path]),
    )


def _written(recipe: LayerRecipe, tree: Mapping[str, bool]) -> Iterable[str]:
    """Returns the directories of a layer that others may have too."""
    found = {path: None for path, is_directory in tree.items() if is_directory}
    if any(entry.destination != ROOT for entry in recipe.entries):
        found.update(dict.fromkeys(_STORE_DIRECTORIES))
    return found


def _directory(recipe: LayerRecipe, path: str, matching: Sequence[Permission]) -> Directory:
    owner = recipe.owner if f"{path}/".startswith("/nix/") else Owner()
    in_every_layer = path in _STORE_DIRECTORIES
    mode = _ORDINARY_MODE if in_every_layer else recipe.mode_of_copied_directory
    for permission in matching:
        mode = mode if permission.mode is None else permission.mode
        owner = permission.change(owner)
    return Directory(path, mode, owner)
