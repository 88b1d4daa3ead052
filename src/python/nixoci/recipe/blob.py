"""The recipe of a layer that is copied: it is known by its digest, and has its bytes from where it is.

No step digests or packs one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.recipe.layer import RECIPE_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nixoci.store.path import StorePath

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

#: A place below the directory of contents: no part of it may lead out.
_PLACE = re.compile(r"(?!\.\.?(?:/|$))[^/\0]+(?:/(?!\.\.?(?:/|$))[^/\0]+)*")


@dataclass(frozen=True)
class BlobRecipe:
    """A blob, and where it can be had.

    :param digest: `sha256:<hex>` of the blob.
    :param size: bytes of the blob.
    :param diff_id: `sha256:<hex>` of the plain tar in it.
    :param media_type: of the OCI image spec.
    :param repositories: with their registry, in the order in which they are asked.
    :param file: a file below the directory of contents (`--contents`) that has the blob in it.
    :param offset: bytes before the blob in `file`: an archive is read in place.
    :raises InvalidInputError: a digest, the size or the path is not valid.
    """

    digest: str
    size: int
    diff_id: str
    media_type: str
    repositories: tuple[str, ...] = ()
    file: str = ""
    offset: int = 0

    def __post_init__(self) -> None:
        for what, value in (("digest", self.digest), ("diff ID", self.diff_id)):
            if not _DIGEST.fullmatch(value):
                raise InvalidInputError(
                    f"{what} of a copied layer", value, "expected sha256: and 64 hex digits"
                )
        for what, number in (("size", self.size), ("offset", self.offset)):
            if number < 0:
                raise InvalidInputError(f"{what} of a copied layer", number, "it is negative")
        if self.file and not _PLACE.fullmatch(self.file):
            raise InvalidInputError(
                "file of a copied layer", self.file, "expected a path below the contents"
            )

    @property
    def paths(self) -> tuple[StorePath, ...]:
        """The store paths that have to be read for this layer: none."""
        return ()

    @property
    def summary(self) -> str:
        """What the layer holds, for people."""
        origin = self.repositories[0] if self.repositories else self.file
        return f"a layer of {origin}" if origin else "a layer of the base image"

    def to_json(self) -> bytes:
        """The one JSON form of this recipe: sorted keys, no spaces, defaults left out."""
        blob: dict[str, Any] = {
            "digest": self.digest,
            "size": self.size,
            "diffId": self.diff_id,
            "mediaType": self.media_type,
        }
        if self.repositories:
            blob["repositories"] = list(self.repositories)
        if self.file:
            blob["file"] = self.file
        if self.offset:
            blob["offset"] = self.offset
        return canonical_json("copied layer", {"version": RECIPE_VERSION, "blob": blob})

    @classmethod
    def from_json(cls, data: bytes) -> BlobRecipe:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document, or of another version.
        """
        document = parse_object("copied layer", data)
        if document.get("version") != RECIPE_VERSION:
            raise InvalidInputError(
                "recipe version", document.get("version"), f"expected {RECIPE_VERSION}"
            )
        blob = get_field(document, "blob", dict)
        return cls(
            get_field(blob, "digest", str),
            get_field(blob, "size", int),
            get_field(blob, "diffId", str),
            get_field(blob, "mediaType", str),
            tuple(get_list(blob, "repositories", str, default=[])),
            get_field(blob, "file", str, default=""),
            get_field(blob, "offset", int, default=0),
        )
