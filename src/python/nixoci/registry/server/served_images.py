"""What a read-only registry has: images under repositories, tags and digests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Optional, Sequence

from nixoci.errors import InvalidInputError
from nixoci.image.image import Manifest
from nixoci.image.index.descriptor import AnyDescriptor
from nixoci.image.layout import Blob, WriteLayer, image_blobs
from nixoci.image.reference import Reference
from nixoci.registry.address import split_reference

#: Repository of images that have no name.
UNNAMED_REPOSITORY = "nixoci"

_SHORT_DIGEST_LENGTH = 12


@dataclass(frozen=True)
class ServedRepository:
    """One repository: manifests and indexes by digest and tag, blobs by digest."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, Manifest] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)

    def manifest(self, reference: str) -> Optional[Manifest]:
        """Returns the manifest or index that a tag names, or that has a digest; None if there is none."""
        return self.manifests.get(reference) or self.tags.get(reference)


def local_references(
    descriptor: AnyDescriptor, chosen: Sequence[Reference] = ()
) -> tuple[Reference, ...]:
    """Returns the names of an image where it is served or loaded: always at least one.

    :param chosen: what the user asked for; those of the descriptor when empty. An image without
        a name gets a tag of the first digits of its digest, so that it neither hides
        nor moves the name of another one.
    """
    names = tuple(chosen) or descriptor.references
    if names:
        return names
    tag = descriptor.image.digest.partition(":")[2][:_SHORT_DIGEST_LENGTH]
    return (Reference(UNNAMED_REPOSITORY, tag),)


def repository_path(reference: Reference) -> str:
    """Returns the name under which the repository of `reference` is served.

    It is without the registry that the image is meant for, since it is served by another one here,
    and without the `library/` that only Docker Hub has.
    """
    if "/" not in reference.repository:
        return reference.repository
    return split_reference(reference)[1]


def serve_images(
    images: Iterable[tuple[AnyDescriptor, Sequence[Reference]]], write_layer: WriteLayer
) -> dict[str, ServedRepository]:
    """Returns the repositories that hold images, by name.

    :param images: descriptors of images and indexes with the names that they are to have.
    :raises InvalidInputError: two different images have the same name.
    """
    repositories: dict[str, ServedRepository] = {}
    for descriptor, references in images:
        image = descriptor.image
        blobs = image_blobs(image, descriptor.recipes, write_layer)
        for reference in references:
            name = repository_path(reference)
            repository = repositories.setdefault(name, ServedRepository())
            other = repository.tags.setdefault(reference.tag, image.manifests[-1])
            if other.digest != image.digest:
                raise InvalidInputError(
                    "name of an image",
                    f"{name}:{reference.tag}",
                    f"both {other.digest} and {image.digest} have it; serve them one by one",
                )
            repository.manifests.update((one.digest, one) for one in image.manifests)
            for blob in blobs:
                repository.blobs.setdefault(blob.digest, blob)
    return repositories
