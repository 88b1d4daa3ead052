"""The layers of a published image, out of its manifest: what a later split can start from."""

from __future__ import annotations

from nixoci.errors import InvalidInputError, NixOciError, printable
from nixoci.image.image import parse_layer_annotations
from nixoci.image.manifest_format import (
    DOCKER,
    MEDIA_TYPE_MANIFEST,
)
from nixoci.image.reference import Reference
from nixoci.image.store_path_annotation import annotated_store_paths
from nixoci.json_input import parse_object
from nixoci.json_output import readable_json


class UnusableImageError(NixOciError):
    """A published image does not say which store paths its layers have.

    :param reference: of the image.
    """

    def __init__(self, reference: Reference, why: str) -> None:
        self.reference = str(reference)
        self.why = why
        super().__init__(f"The layers of {reference} cannot be read: {why}.")


def published_layers_json(reference: Reference, manifest: bytes) -> bytes:
    """Returns the store paths of each layer, as JSON that `previous_layers` reads.

    Layers without store paths (what is copied to the root, a Nix database) are left out.

    :param reference: where the manifest comes from, for errors.
    :param manifest: nothing in it is trusted.
    :raises UnusableImageError: it is no manifest of an image, or has no store paths.
    """
    try:
        media_type = parse_object("image manifest", manifest).get("mediaType")
        if media_type == DOCKER.manifest:
            raise UnusableImageError(
                reference,
                "its manifest is of Docker's format, which has no annotations to say which store paths they "
                "have; was it converted by another tool? Name the image as it was published. If it was "
                'packaged with `manifest_format="docker"`, take the descriptor that `package` wrote, or '
                'package it with `manifest_format="oci"`',
            )
        if media_type != MEDIA_TYPE_MANIFEST:
            shown = printable(repr(media_type), 80)
            raise UnusableImageError(
                reference,
                f"its manifest has the media type {shown}, not {MEDIA_TYPE_MANIFEST}; was it "
                "converted by another tool? Name the image as it was published",
            )
        annotations = parse_layer_annotations(manifest)
        layers = [annotated_store_paths(dict(each)) for each in annotations]
    except InvalidInputError as error:
        # All of its text may come from the registry.
        why = printable(error, 300).rstrip(".")
        raise UnusableImageError(reference, why) from None
    if not any(layers):
        raise UnusableImageError(
            reference,
            "its manifest does not say which store paths they have; set the option "
            "`[nix-images].annotate_layers`, publish the image, and take that one",
        )
    document = {"layers": [{"storePaths": list(paths)} for paths in layers if paths]}
    return readable_json("layers", document)
