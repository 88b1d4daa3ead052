"""Whatever a layer can be made of: recipes of all kinds."""

from __future__ import annotations

from nixoci.json_input import parse_object
from nixoci.recipe.layer import LayerRecipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from nixoci.recipe.blob import BlobRecipe
    from nixoci.recipe.database import DatabaseRecipe
    from nixoci.recipe.files import FilesRecipe

    Recipe = Union[LayerRecipe, DatabaseRecipe, FilesRecipe, BlobRecipe]


def parse_recipe(data: bytes) -> Recipe:
    """Parses the JSON form of a recipe of any kind.

    :raises InvalidInputError: not such a document.
    """
    document = parse_object("layer recipe", data)
    if "registrations" in document:
        from nixoci.recipe.database import DatabaseRecipe

        return DatabaseRecipe.from_json(data)
    if "files" in document:
        from nixoci.recipe.files import FilesRecipe

        return FilesRecipe.from_json(data)
    if "blob" in document:
        from nixoci.recipe.blob import BlobRecipe

        return BlobRecipe.from_json(data)
    return LayerRecipe.from_json(data)
