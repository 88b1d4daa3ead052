"""The annotation that says which store paths a layer has, for those who have only the manifest.

Annotations of a layer are in the manifest of the image (OCI image spec, annotations.md), hence part
of its digest. They are no part of the layer, and not in the config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

from nixoci.errors import InvalidInputError
from nixoci.recipe.layer import ROOT, LayerRecipe
from nixoci.store.path import StorePath

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe

#: Its key. The value is base names (`<digits>-<name>`), sorted, with single spaces between.
STORE_PATHS = "dev.pants-backend-nix.store-paths"


def store_path_annotation(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """Returns the annotation of the layer that a recipe makes, for `LayerInImage.annotations`.

    There is none if nothing of the layer is in the store of the image: what is copied to the root
    and a Nix database are not.
    """
    if not isinstance(recipe, LayerRecipe):
        return ()
    paths = sorted({entry.path for entry in recipe.entries if entry.destination != ROOT})
    return ((STORE_PATHS, " ".join(path.base_name for path in paths)),) if paths else ()


def annotated_store_paths(annotations: Mapping[str, str]) -> tuple[StorePath, ...]:
    """Returns the store paths that a layer's annotations name; none without the annotation.

    :raises InvalidInputError: the annotation has something else, or a path twice.
    """
    value = annotations.get(STORE_PATHS)
    if value is None:
        return ()
    paths = tuple(map(StorePath.parse_base_name, value.split(" ")))
    if len(set(paths)) < len(paths):
        raise InvalidInputError(f"annotation {STORE_PATHS}", value[:200], "it has a path twice")
    return paths
