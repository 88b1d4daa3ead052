"""Whether the store of this machine has what another machine recorded."""

from __future__ import annotations

from nixoci.errors import NixOciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.nix import Nix
    from nixoci.recipe import LayerRecipe
    from nixoci.store_path import StorePath


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
            f"These store paths were built with other results than those that were recorded: "
            f"{differences}."
        )


def require_recorded_contents(nix: Nix, recipe: LayerRecipe) -> None:
    """Checks that the store paths of a recipe are valid and have the contents that it was made for.

    It is Nix's word that is compared; reading the paths comes later, and is verified too.

    :raises InvalidPathError: some are not valid.
    :raises ContentsDifferError: some have another NAR hash.
    """
    hashes = nix.nar_hashes(recipe.paths)
    different = [
        (entry.path, entry.nar_hash, found)
        for entry, found in zip(recipe.entries, hashes)
        if entry.nar_hash != found
    ]
    if different:
        paths, recorded, found = zip(*different)
        raise ContentsDifferError(paths, recorded, found)
