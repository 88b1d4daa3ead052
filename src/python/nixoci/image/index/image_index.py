"""Indexes: images for several platforms under one digest (OCI image spec, image-index.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Mapping, Optional, Sequence, Union

from nixoci.errors import InvalidInputError
from nixoci.image.config import Platform
from nixoci.image.image import Image, LayerInImage, Manifest, digest_of
from nixoci.image.index.platforms import platform_key, platform_name
from nixoci.image.manifest_format import MEDIA_TYPE_INDEX, OCI
from nixoci.json_input import get_field, parse_object
from nixoci.json_output import canonical_json


@dataclass(frozen=True)
class ImageIndex:
    """Images for several platforms under one digest; made by `index` or `parse_index`.

    What is said of all that an image is made of has the names that it has in `Image`, so whoever writes or pushes
    images does so with both.

    :param content: the bytes of the index.
    :param images: in the order of the index.
    """

    content: bytes
    images: tuple[Image, ...]

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>`: what registries know the index by."""
        return digest_of(self.content)

    @property
    def media_type(self) -> str:
        """Of the index."""
        return MEDIA_TYPE_INDEX

    @property
    def layers(self) -> tuple[LayerInImage, ...]:
        """Those of all images, one image after the other. Images may have layers in common."""
        return tuple(item for image in self.images for item in image.layers)

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All that registries have by digest: the manifests of the images, then the index."""
        of_images = tuple(manifest for image in self.images for manifest in image.manifests)
        return (*of_images, Manifest(self.content, self.media_type))

    @property
    def is_compressed(self) -> bool:
        """Whether a compressor is needed to make the layers."""
        return any(image.is_compressed for image in self.images)

    def descriptor(self) -> dict[str, Any]:
        """The descriptor of the index (OCI image spec, descriptor.md)."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


#: What has one digest in a registry.
AnyImage = Union[Image, ImageIndex]


def index(
    images: Sequence[Image], annotations: Optional[Mapping[str, str]] = None
) -> ImageIndex:
    """Makes an index of images for different platforms.

    They are sorted by platform, so that an index is the same in whatever order they are named. Of several variants
    the lowest is first, which also those can run that look at no variants and take the first image.

    :raises InvalidInputError: there is no image, two are for the same platform, so that an engine could not
        choose, an annotation has an empty key or is no text, or an image has a manifest of Docker's.
    """
    if not images:
        raise InvalidInputError("image index", "", "it has no image")
    platforms = set()
    for image in images:
        if image.format != OCI:
            raise InvalidInputError(
                "image index", image.digest, "its manifest is of Docker's format, not of OCI's"
            )
        if platform_key(image.platform) in platforms:
            raise InvalidInputError(
                "image index",
                platform_name(image.platform),
                "two of its images are for this platform",
            )
        platforms.add(platform_key(image.platform))
    for key, value in (annotations or {}).items():
        if not key or not isinstance(value, str):
            raise InvalidInputError(f"annotation {key!r}", value, "expected a key and a string")
    ordered = sorted(images, key=lambda image: _order(image.platform))
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE_INDEX,
        "manifests": [
            {**image.descriptor(), "platform": image.platform.to_document()} for image in ordered
        ],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return ImageIndex(canonical_json("image index", document), tuple(ordered))


def _order(platform: Platform) -> tuple[str, ...]:
    parts = (platform.os, platform.architecture, platform.variant, platform.os_version)
    return tuple(part or "" for part in parts)


def parse_index(content: bytes, images: Sequence[Image]) -> ImageIndex:
    """Returns the index of which `content` are the bytes.

    :param images: those that it names.
    :raises InvalidInputError: it is not what `index` makes of these images.
    """
    document = parse_object("image index", content)
    found = index(images, get_field(document, "annotations", dict, default={}))
    if found.content != content:
        raise InvalidInputError(
            "image index", digest_of(content), f"its images make another one, {found.digest}"
        )
    return found
