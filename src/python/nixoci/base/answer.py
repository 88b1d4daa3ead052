"""A base image as one document: what a registry said, so that whoever reads it later can verify all of it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Mapping, Optional

from nixoci.base.errors import UnusableBaseError
from nixoci.base.image import BaseImage, config_descriptor, parse_base
from nixoci.base.index import choose_manifest, parse_index
from nixoci.errors import InvalidInputError
from nixoci.image.config import Platform
from nixoci.image.image import digest_of
from nixoci.json_input import get_field, parse_object
from nixoci.json_output import canonical_json
from nixoci.registry.reading.reader import LONGEST_MANIFEST, RepositoryReader


@dataclass(frozen=True)
class BaseDocuments:
    """:param index: that the manifest was chosen from, if there is one."""

    manifest: bytes
    config: bytes
    index: Optional[bytes] = None

    def to_json(self) -> bytes:
        """The one JSON form."""
        documents = {name: value for name, value in vars(self).items() if value is not None}
        return canonical_json(
            "base image",
            {name: base64.b64encode(value).decode() for name, value in documents.items()},
        )

    @classmethod
    def from_json(cls, data: bytes) -> BaseDocuments:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("base image", data)
        return cls(
            _decoded(document, "manifest"),
            _decoded(document, "config"),
            _decoded(document, "index") if "index" in document else None,
        )

    def parse(
        self, digest: str, platform: Platform, repositories: tuple[str, ...]
    ) -> BaseImage:
        """Returns the image, verified from `digest` on.

        :param digest: of the index, or of the manifest.
        :raises UnusableBaseError: and `InvalidInputError`, see `parse_base`; also if these are not the documents of
            that digest.
        """
        top = self.manifest if self.index is None else self.index
        if digest_of(top) != digest:
            raise InvalidInputError("digest of a base image", digest_of(top), f"expected {digest}")
        if self.index is not None:
            chosen = choose_manifest(parse_index(self.index) or (), platform).digest
            if digest_of(self.manifest) != chosen:
                raise InvalidInputError(
                    "digest of a manifest", digest_of(self.manifest), f"expected {chosen}"
                )
        return parse_base(self.manifest, self.config, repositories)


def fetch_base(reader: RepositoryReader, digest: str, platform: Platform) -> BaseDocuments:
    """Asks a repository for manifest and config of an image, and for no layer.

    :param digest: of an index or a manifest.
    :param platform: to choose from an index.
    :raises UnusableBaseError: and `InvalidInputError`, see `BaseDocuments.parse`.
    :raises RegistryError: and `CredentialsError`, as `RepositoryReader.manifest`.
    """
    content = reader.manifest(digest)
    listed = parse_index(content)
    index = None
    if listed is not None:
        index = content
        content = reader.manifest(choose_manifest(listed, platform).digest)
    return replace(fetch_documents(reader, content), index=index)


def fetch_documents(reader: RepositoryReader, manifest: bytes) -> BaseDocuments:
    """Asks a repository for the config of an image.

    :raises UnusableBaseError: and others, as `fetch_base`.
    """
    digest, size = config_descriptor(manifest)
    if not 0 <= size <= LONGEST_MANIFEST:
        raise UnusableBaseError(f"its config has {size} bytes, and at most {LONGEST_MANIFEST} are read")
    return BaseDocuments(manifest, reader.small_blob(digest, size))


def _decoded(document: Mapping[str, object], name: str) -> bytes:
    text = get_field(document, name, str)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInputError(f"{name} of a base image", text[:80], "it is no base64") from None
