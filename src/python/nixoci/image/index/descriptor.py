"""The descriptor of an index: its bytes, and the descriptors of its images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Sequence, Union

from nixoci.errors import InvalidInputError
from nixoci.image.config import Platform
from nixoci.image.descriptor import SCHEMA_VERSION, Descriptor, descriptor_json
from nixoci.image.image import Image
from nixoci.image.index.image_index import AnyImage, ImageIndex, parse_index
from nixoci.image.index.platforms import position_for
from nixoci.image.manifest_format import MEDIA_TYPE_INDEX
from nixoci.image.reference import Reference
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json, readable_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe


@dataclass(frozen=True)
class IndexDescriptor:
    """What the descriptor of an index says; attributes as those of `Descriptor`.

    :param image: the index.
    :param recipes: one for each layer, image after image.
    :param references: the names of the index; there may be none.
    """

    image: ImageIndex
    recipes: tuple[Recipe, ...]
    references: tuple[Reference, ...] = ()

    def of_images(self) -> tuple[Descriptor, ...]:
        """Returns the descriptors of the images, in the order of the index, with the names of the index."""
        return tuple(
            Descriptor(image, recipes, self.references)
            for image, recipes in _by_image(self.image, self.recipes)
        )


AnyDescriptor = Union[Descriptor, IndexDescriptor]


def read_descriptor(data: bytes) -> AnyDescriptor:
    """Parses the descriptor of an image or of an index, and verifies all digests that need no store.

    :raises InvalidInputError: not such a document, of another version, or one whose parts do not fit together.
    """
    document = parse_object("descriptor", data)
    if document.get("mediaType") != MEDIA_TYPE_INDEX:
        return Descriptor.from_json(data)
    version = get_field(document, "schemaVersion", int)
    if version != SCHEMA_VERSION:
        raise InvalidInputError(
            "index descriptor version", version, f"this nixoci reads {SCHEMA_VERSION}"
        )
    images = [
        Descriptor.from_json(canonical_json("image descriptor", image))
        for image in get_list(document, "images", dict)
    ]
    content = canonical_json("image index", get_field(document, "index", dict))
    found = parse_index(content, [descriptor.image for descriptor in images])
    if list(found.images) != [descriptor.image for descriptor in images]:
        raise InvalidInputError(
            "images of the index descriptor", found.digest, "they are not in the order of the index"
        )
    for name, value in found.descriptor().items():
        if get_field(document, name, type(value)) != value:
            raise InvalidInputError(
                f"{name} of the index descriptor", document[name], f"the index makes it {value}"
            )
    return IndexDescriptor(
        found,
        tuple(recipe for descriptor in images for recipe in descriptor.recipes),
        tuple(map(Reference.parse, get_list(document, "references", str))),
    )


def descriptor_for(descriptor: AnyDescriptor, platform: Platform) -> Descriptor:
    """Returns the descriptor of the image that a machine takes: of an image itself, whatever it is for.

    :raises NoImageForPlatformError: an index has none for that platform.
    """
    if isinstance(descriptor, Descriptor):
        return descriptor
    return descriptor.of_images()[
        position_for([image.platform for image in descriptor.image.images], platform)
    ]


def any_descriptor_json(
    image: AnyImage, recipes: Sequence[Recipe], *, references: Sequence[Reference] = ()
) -> bytes:
    """Returns the descriptor of an image or of an index: JSON, the same for the same input.

    :param recipes: one for each layer; of an index, image after image.
    :raises InvalidInputError: there are not as many recipes as layers.
    """
    if isinstance(image, Image):
        return descriptor_json(image, recipes, references=references)
    document = {
        "schemaVersion": SCHEMA_VERSION,
        **image.descriptor(),
        "references": [str(reference) for reference in references],
        "index": json.loads(image.content),
        "images": [
            json.loads(descriptor_json(one, its_recipes))
            for one, its_recipes in _by_image(image, recipes)
        ],
    }
    return readable_json("index descriptor", document)


def _by_image(
    image: ImageIndex, recipes: Sequence[Recipe]
) -> list[tuple[Image, tuple[Recipe, ...]]]:
    """Returns each image with the recipes of its layers.

    :raises InvalidInputError: there are not as many recipes as layers.
    """
    if len(recipes) != len(image.layers):
        raise InvalidInputError(
            "layer recipes", len(recipes), f"the images have {len(image.layers)} layers"
        )
    found = []
    start = 0
    for one in image.images:
        end = start + len(one.layers)
        found.append((one, tuple(recipes[start:end])))
        start = end
    return found
