"""The descriptor: the file that stands for an image after packaging, and can become it again.

It has no byte of a layer and yet everything that pushing or writing the image takes, so it is small
and can be kept, compared and read by people and scripts. `docs/` describes it for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence

from nixoci.compression.formats import Compression
from nixoci.errors import InvalidInputError
from nixoci.image.image import Image, parse_image, with_layers
from nixoci.image.manifest_format import MEDIA_TYPE_INDEX, OCI, ManifestFormat
from nixoci.image.reference import Reference
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json, readable_json
from nixoci.layer.layer import Layer, copied_layer
from nixoci.recipe.blob import BlobRecipe
from nixoci.recipe.recipe import parse_recipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe

#: Version of the descriptor's form. It grows when an older nixoci could not read it.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Descriptor:
    """What a descriptor says.

    :param recipes: one for each layer of the image, in the same order.
    :param references: the names of the image, perhaps with a registry; there may be none.
    """

    image: Image
    recipes: tuple[Recipe, ...]
    references: tuple[Reference, ...] = ()

    @classmethod
    def from_json(cls, data: bytes) -> Descriptor:
        """Parses what `descriptor_json` wrote, and verifies all digests that need no store.

        :raises InvalidInputError: not such a document, of another version, or one whose parts do
            not fit together.
        """
        document = parse_object("image descriptor", data)
        if document.get("mediaType") == MEDIA_TYPE_INDEX:
            raise InvalidInputError(
                "image descriptor",
                document.get("digest"),
                "it is that of an index of images for several platforms; name that of one of its images",
            )
        version = get_field(document, "schemaVersion", int)
        if version != SCHEMA_VERSION:
            raise InvalidInputError(
                "image descriptor version", version, f"this nixoci reads {SCHEMA_VERSION}"
            )
        # Config and manifest are kept as JSON, not as text: they were canonical, so they are again.
        image = parse_image(
            canonical_json("image config", get_field(document, "config", dict)),
            canonical_json("image manifest", get_field(document, "manifest", dict)),
        )
        _require_equal("image descriptor", document, _summary(image))
        layers = get_list(document, "layers", dict)
        if len(layers) != len(image.layers):
            raise InvalidInputError(
                "layers of the image descriptor", len(layers), f"the image has {len(image.layers)}"
            )
        recipes = [
            parse_recipe(canonical_json("layer recipe", get_field(layer, "recipe", dict)))
            for layer in layers
        ]
        image = with_layers(
            image,
            [
                _layer(item.layer, layer, recipe)
                for item, layer, recipe in zip(image.layers, layers, recipes)
            ],
        )
        for number, (layer, expected) in enumerate(zip(layers, _layer_summaries(image)), start=1):
            _require_equal(f"layer {number} of the image descriptor", layer, expected)
        references = map(Reference.parse, get_list(document, "references", str))
        return cls(image, tuple(recipes), tuple(references))


def descriptor_json(
    image: Image,
    recipes: Sequence[Recipe],
    *,
    references: Sequence[Reference] = (),
) -> bytes:
    """Returns the descriptor of an image: JSON, indented by two, the same for the same input.

    :param recipes: one for each layer of the image, in the same order.
    :raises InvalidInputError: there are not as many recipes as layers.
    """
    if len(recipes) != len(image.layers):
        raise InvalidInputError(
            "layer recipes", len(recipes), f"the image has {len(image.layers)} layers"
        )
    document = {
        "schemaVersion": SCHEMA_VERSION,
        **_summary(image),
        "references": [str(reference) for reference in references],
        "layers": [
            {**layer, "recipe": json.loads(recipe.to_json())}
            for layer, recipe in zip(_layer_summaries(image), recipes)
        ],
        "manifest": json.loads(image.manifest),
        "config": json.loads(image.config),
    }
    return readable_json("image descriptor", document)


def _summary(image: Image) -> dict[str, Any]:
    """What most readers want to know, out of manifest and config."""
    return {
        "digest": image.digest,
        "size": len(image.manifest),
        "mediaType": image.media_type,
        "configDigest": image.config_digest,
        "platform": image.platform.to_document(),
    }


def _layer(layer: Layer, document: dict[str, Any], recipe: Recipe) -> Layer:
    """Returns a layer of the manifest with what the descriptor says of how its blob comes to be."""
    if isinstance(recipe, BlobRecipe):
        copied = copied_layer(recipe)
        if copied != replace(layer, copied=True):
            raise InvalidInputError("copied layer", recipe.digest, f"the manifest has {layer.digest}")
        return copied
    facts = get_field(document, "compression", dict, default=None)
    if facts is None:
        layer.require_known_form()
        return layer
    tar_size = get_field(facts, "tarSize", int)
    if tar_size < 0:
        raise InvalidInputError("tarSize", tar_size, "it is negative")
    return replace(layer, compression=Compression.from_document(facts), tar_size=tar_size)


def layer_summary(layer: Layer, format: ManifestFormat = OCI) -> dict[str, Any]:
    """What people and scripts want to know of a layer, by the names of the OCI image spec.

    :param format: of the manifest that the layer is in.
    """
    summary: dict[str, Any] = {
        "digest": layer.digest,
        "size": layer.size,
        "diffId": layer.diff_id,
        "mediaType": format.layer_type(layer.media_type),
    }
    if layer.compression is not None:
        summary["compression"] = {**layer.compression.to_document(), "tarSize": layer.tar_size}
    return summary


def _layer_summaries(image: Image) -> list[dict[str, Any]]:
    return [
        {
            **layer_summary(item.layer, image.format),
            "history": {name: value for name, value in vars(item.history).items() if value},
        }
        for item in image.layers
    ]


def _require_equal(what: str, document: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        found = document.get(name)
        # Python's == is too lax here: for it, 1, 1.0 and True are the same.
        if canonical_json(f"{name} of {what}", found) != canonical_json(what, value):
            raise InvalidInputError(
                f"{name} of {what}", found, f"manifest and config make it {value}"
            )
