"""The layers of an earlier build, out of the files that packaging and `nixoci previous` write."""

from __future__ import annotations

from nixoci.json_input import get_field, get_list, parse_object
from nixoci.recipe.layer import ROOT
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping


def previous_layers(data: bytes) -> tuple[tuple[StorePath, ...], ...]:
    """Returns the store paths of each layer, for `Preferences.previous`.

    What is copied to the root belongs to no split, and neither does a Nix database.

    :param data: the descriptor of an image (`*.image.json`), the file of a layer target
        (`*.layer.json`), or what `published_layers_json` made of a published image.
    :raises InvalidInputError: none of these.
    """
    document = parse_object("description of layers", data)
    layers = map(_paths, get_list(document, "layers", dict))
    return tuple(layer for layer in layers if layer)


def _paths(layer: Mapping[str, Any]) -> tuple[StorePath, ...]:
    if "storePaths" in layer:
        return tuple(map(StorePath.parse, get_list(layer, "storePaths", str)))
    entries = get_list(get_field(layer, "recipe", dict), "entries", dict, default=[])
    return tuple(
        StorePath.parse(entry.get("path"))
        for entry in entries
        if entry.get("destination") != ROOT
    )
