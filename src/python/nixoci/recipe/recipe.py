"""Whatever a layer can be made of: recipes of all kinds."""

from __future__ import annotations

from nixoci.json_input import parse_object
from nixoci.recipe.layer import LayerRecipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from nixoci.recipe.database import DatabaseRecipe

    Recipe = Union[LayerRecipe, DatabaseRecipe]


def parse_recipe(data: bytes) -> Recipe:
    """Parses the JSON form of a recipe of either kind.

    :raises InvalidInputError: not such a document.
    """
    if "registrations" not in parse_object("layer recipe", data):
        return LayerRecipe.from_json(data)
    from nixoci.recipe.database import DatabaseRecipe

    return DatabaseRecipe.from_json(data)
