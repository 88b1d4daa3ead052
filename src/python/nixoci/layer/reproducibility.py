"""Whether the store of this machine has what another machine recorded."""

from __future__ import annotations

from contextlib import contextmanager

from nixoci.errors import NixOciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Mapping, Sequence

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


@contextmanager
def recorded_contents(nix: Nix, recipe: LayerRecipe) -> Iterator[None]:
    """Checks that the store paths of a recipe are valid and have the contents that it was made for.

    Nix looks while the body gets ready. It is its word that is compared; reading the paths comes after the body, and
    is verified too.

    :raises InvalidPathError: some are not valid.
    :raises ContentsDifferError: some have another NAR hash.
    """
    with nix.nar_hashes_meanwhile(recipe.paths) as hashes:
        yield
        require_recorded_hashes(recipe, dict(zip(recipe.paths, hashes())))


def require_recorded_hashes(recipe: LayerRecipe, hashes: Mapping[StorePath, str]) -> None:
    """Checks the same, by what Nix has said.

    :param hashes: NAR hashes, in SRI form, of all the store paths of the recipe at least.
    :raises ContentsDifferError: some have another one than the recipe says.
    """
    _require_recorded(recipe.entries, hashes)


def require_no_other_contents(nix: Nix, recipes: Iterable[LayerRecipe]) -> None:
    """Checks the same of several recipes; store paths that are not valid are no trouble.

    :raises ContentsDifferError: some have another NAR hash.
    """
    entries = {entry.path: entry for recipe in recipes for entry in recipe.entries}
    hashes = nix.registered(entries)
    _require_recorded([entry for path, entry in entries.items() if path in hashes], hashes)


def _require_recorded(entries: Sequence[RecipeEntry], hashes: Mapping[StorePath, str]) -> None:
    different = [
        (entry.path, entry.nar_hash, hashes[entry.path])
        for entry in entries
        if entry.nar_hash != hashes[entry.path]
    ]
    if different:
        paths, recorded, found = zip(*different)
        raise ContentsDifferError(paths, recorded, found)
