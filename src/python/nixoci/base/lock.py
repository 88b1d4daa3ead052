"""Lock files of base images: what a tag was when somebody looked, an image for each platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nixoci.base.answer import fetch_documents
from nixoci.base.image import created_of, layers_size
from nixoci.base.index import (
    ListedManifest,
    choose_manifest,
    parse_index,
    platform_of_config,
    platform_text,
    require_digest,
)
from nixoci.errors import InvalidInputError
from nixoci.image.config import Platform
from nixoci.image.image import digest_of
from nixoci.image.index.platforms import parse_platform
from nixoci.image.reference import Reference
from nixoci.json_input import get_field, parse_object
from nixoci.json_output import readable_json
from nixoci.registry.reading.reader import RepositoryReader

#: Version of the form of the file.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class LockedImage:
    """One image under the tag.

    :param size: bytes of its layers, as they are in the registry.
    :param created: as its config says; empty if it does not.
    """

    platform: str
    digest: str
    size: int
    created: str = ""

    def __str__(self) -> str:
        created = f", created {self.created}" if self.created else ""
        return f"{self.digest}{created}, {self.size / 1_000_000:.1f} MB"


@dataclass(frozen=True)
class BaseLock:
    """:param image: repository and tag, as in references.
    :param digest: of what the tag names: an index, or the manifest of the one image.
    :param images: by platform, in the order of the index.
    """

    image: str
    digest: str
    images: tuple[LockedImage, ...]

    def choose(self, platform: Platform) -> LockedImage:
        """Returns the image for a platform.

        :raises UnusableBaseError: there is none; it says which there are.
        """
        listed = [
            ListedManifest(one.digest, 0, "", parse_platform(one.platform)) for one in self.images
        ]
        return self.images[listed.index(choose_manifest(listed, platform))]

    def to_json(self) -> bytes:
        """The one form of the file."""
        document = {
            "schemaVersion": SCHEMA_VERSION,
            "image": self.image,
            "digest": self.digest,
            "platforms": {
                one.platform: {"digest": one.digest, "size": one.size, "created": one.created}
                for one in self.images
            },
        }
        return readable_json("lock of a base image", document)

    @classmethod
    def from_json(cls, data: bytes) -> BaseLock:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document, or of another version.
        """
        document = parse_object("lock of a base image", data)
        version = get_field(document, "schemaVersion", int)
        if version != SCHEMA_VERSION:
            raise InvalidInputError("version of the lock", version, f"expected {SCHEMA_VERSION}")
        platforms = get_field(document, "platforms", dict)
        images = []
        for name in platforms:
            platform_text(parse_platform(name))
            entry = get_field(platforms, name, dict)
            images.append(
                LockedImage(
                    name,
                    _digest(entry),
                    get_field(entry, "size", int),
                    get_field(entry, "created", str, default=""),
                )
            )
        return cls(get_field(document, "image", str), _digest(document), tuple(images))


def lock_base(reader: RepositoryReader, reference: Reference) -> BaseLock:
    """Asks a registry what a tag names now.

    :param reader: of the repository of `reference`.
    :raises UnusableBaseError: and `InvalidInputError`, if there is nothing to build on.
    :raises RegistryError: and `CredentialsError`, as `RepositoryReader.manifest`.
    """
    content = reader.manifest(reference.tag)
    listed = parse_index(content)
    if listed is None:
        return BaseLock(str(reference), digest_of(content), (_locked(reader, content),))
    images: dict[str, LockedImage] = {}
    for one in listed:
        name = "" if one.platform is None else platform_text(one.platform)
        # Of two for one platform, engines take the first.
        if one.platform is not None and name not in images and not one.is_index:
            images[name] = _locked(reader, reader.manifest(one.digest), one.platform)
    return BaseLock(str(reference), digest_of(content), tuple(images.values()))


def lock_moves(old: Optional[BaseLock], new: BaseLock) -> tuple[str, ...]:
    """Returns a line for each thing that has moved.

    :param old: None if nothing was locked.
    """
    before = {} if old is None else {one.platform: one for one in old.images}
    lines = []
    if old is not None and old.image != new.image:
        lines.append(f"{old.image} -> {new.image}")
    for one in new.images:
        was = before.pop(one.platform, None)
        if was is None:
            lines.append(f"{one.platform}: {one}")
        elif was != one:
            lines.append(f"{one.platform}: {was} -> {one}")
    lines += [f"{platform}: {was} -> gone" for platform, was in before.items()]
    if not lines and old is not None and old.digest != new.digest:
        lines.append(f"index: {old.digest} -> {new.digest}, with the same images")
    return tuple(lines)


def _locked(
    reader: RepositoryReader, manifest: bytes, platform: Optional[Platform] = None
) -> LockedImage:
    documents = fetch_documents(reader, manifest)
    return LockedImage(
        platform_text(platform or platform_of_config(documents.config)),
        digest_of(manifest),
        layers_size(manifest),
        created_of(documents.config),
    )


def _digest(document: dict[str, object]) -> str:
    return require_digest(get_field(document, "digest", str))
