"""Layers as registries and engines know them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, parse_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from nixoci.compression.formats import Compression
    from nixoci.recipe.blob import BlobRecipe

MEDIA_TYPE_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Layer:
    """The descriptor of one layer and its diff ID (OCI image spec, descriptor.md and config.md).

    :param digest: `sha256:<hex>` of the blob as it is sent.
    :param size: bytes of the blob.
    :param diff_id: `sha256:<hex>` of the uncompressed tar; equal to `digest` while not compressed.
    :param compression: how the tar becomes the blob; None if it is the blob, or if nobody says.
    :param tar_size: bytes of the tar, of a layer with `compression`.
    :param copied: the blob is copied as it is, and never made: its form need not be known.
    """

    digest: str
    size: int
    diff_id: str
    media_type: str = MEDIA_TYPE_LAYER_TAR
    compression: Optional[Compression] = None
    tar_size: Optional[int] = None
    copied: bool = False

    def descriptor(self) -> dict[str, Any]:
        """The descriptor of the blob, as manifests have it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def uncompressed(self) -> Layer:
        """Returns the layer that is the tar itself; one that is copied stays as it is.

        :raises InvalidInputError: nothing says how this one was compressed.
        """
        self.require_known_form()
        if self.compression is None:
            return self
        assert self.tar_size is not None
        return Layer(self.diff_id, self.tar_size, self.diff_id)

    def require_known_form(self) -> None:
        """Checks that the blob can be made of a recipe, or is copied.

        :raises InvalidInputError: nothing says how it was compressed.
        """
        if self.copied:
            return
        if self.compression is None and self.media_type != MEDIA_TYPE_LAYER_TAR:
            raise InvalidInputError(
                "layer", self.digest, f"nothing says how to make its media type, {self.media_type}"
            )

    def to_json(self) -> bytes:
        """The one JSON form of this layer."""
        # Nobody digests one that is copied, so none is sent from one process to another.
        facts = {name: value for name, value in vars(self).items() if name != "copied"}
        document = {name: value for name, value in facts.items() if value is not None}
        if self.compression is not None:
            document["compression"] = self.compression.to_document()
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Layer:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("layer", data)
        digest, diff_id, media_type = (
            get_field(document, name, str) for name in ("digest", "diff_id", "media_type")
        )
        layer = cls(digest, get_field(document, "size", int), diff_id, media_type)
        if "compression" not in document:
            return layer
        from nixoci.compression.formats import Compression

        compression = Compression.from_document(get_field(document, "compression", dict))
        return replace(
            layer, compression=compression, tar_size=get_field(document, "tar_size", int)
        )


def copied_layer(recipe: BlobRecipe) -> Layer:
    """Returns the layer of a recipe of which all is known: nothing is digested."""
    return Layer(recipe.digest, recipe.size, recipe.diff_id, recipe.media_type, copied=True)
