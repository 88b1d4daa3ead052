"""Whether the store of this machine has what another machine recorded."""

from __future__ import annotations

from nixoci.errors import NixOciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

    from nixoci.recipe.layer import LayerRecipe, RecipeEntry
    from nixoci.store.nix import Nix
    from nixoci.store.path import StorePath


class ContentsDifferError(NixOciError):
    """Store paths that have other contents here than a recipe says: their builds differ.

    :param paths: which; `recorded` and `found` are their NAR hashes there and here.
    """

    def __init__(
        self, paths: tuple[StorePath, ...], recorded: tuple[str, ...], found: tuple[str, ...]
    ) -> None:
        self.paths = paths
        self.recorded = recorded
        self.found = found
        differences = ", ".join(
            f"{path} (recorded {then}, here {now})"
            for path, then, now in zip(paths, recorded, found)
        )
        super().__init__(
            f"This machine built these store paths with other results than the one that recorded "
            f"the image: {differences}."
        )


def require_recorded_contents(nix: Nix, recipe: LayerRecipe) -> None:
    """Checks that the store paths of a recipe are valid and have the contents that it was made for.

    It is Nix's word that is compared; reading the paths comes later, and is verified too.

    :raises InvalidPathError: some are not valid.
    :raises ContentsDifferError: some have another NAR hash.
    """
    _require_recorded(nix, recipe.entries)


def require_no_other_contents(nix: Nix, recipes: Iterable[LayerRecipe]) -> None:
    """Checks the same of several recipes; store paths that are not valid are no trouble.

    :raises ContentsDifferError: some have another NAR hash.
    """
    entries = {entry.path: entry for recipe in recipes for entry in recipe.entries}
    invalid = set(nix.invalid(entries))
    _require_recorded(nix, [entry for path, entry in entries.items() if path not in invalid])


def _require_recorded(nix: Nix, entries: Sequence[RecipeEntry]) -> None:
    hashes = nix.nar_hashes([entry.path for entry in entries])
    different = [
        (entry.path, entry.nar_hash, found)
        for entry, found in zip(entries, hashes)
        if entry.nar_hash != found
    ]
    if different:
        paths, recorded, found = zip(*different)
        raise ContentsDifferError(paths, recorded, found)
