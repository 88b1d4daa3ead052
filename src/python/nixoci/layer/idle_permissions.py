"""Permissions of a recipe that change nothing in its layer."""

from __future__ import annotations

import stat

from nixoci.layer.places import places
from nixoci.recipe.layer import ROOT, LayerRecipe
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.dialect import DIALECTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.layer import Permission
    from nixoci.store.case_hack import HasCaseHack


def idle_permissions(
    recipe: LayerRecipe, store_root: str = "", has_case_hack: HasCaseHack = without_case_hack
) -> tuple[int, ...]:
    """Returns the positions of those permissions that change nothing, wherever they match.

    Only names are read, and only until each permission has been found to change something.

    :param store_root: and `has_case_hack`, see `nixoci.tar.pack.write_tar`.
    :raises StorePathMissingError: and others, see `nixoci.layer.places`.
    """
    links_have_modes = DIALECTS[recipe.dialect].links_have_modes
    idle = {
        number: (permission.matcher(), permission)
        for number, permission in enumerate(recipe.permissions)
    }

    def look(path: str, kind: int) -> None:
        for number, (matches, permission) in list(idle.items()):
            if matches(path) and _changes(permission, kind, links_have_modes):
                del idle[number]

    if any(entry.destination != ROOT for entry in recipe.entries):
        for path in ("/nix", "/nix/store"):
            look(path, stat.S_IFDIR)
    for entry in recipe.entries:
        if not idle:
            break
        if any(permission.may_match(entry.destination) for _, permission in idle.values()):
            for place in places(recipe, entry, store_root, has_case_hack):
                look(place.path, place.item.kind)
                if not idle:
                    break
    return tuple(sorted(idle))


def _changes(permission: Permission, kind: int, links_have_modes: bool) -> bool:
    """Whether a permission that matches something of a kind has an effect on it."""
    if kind == stat.S_IFREG and permission.capabilities:
        return True
    if kind == stat.S_IFLNK and not links_have_modes:
        return permission.changes_owner
    return permission.changes_owner or permission.mode is not None
