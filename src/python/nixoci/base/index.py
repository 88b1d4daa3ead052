"""Image indexes: which of the images in one is for a platform."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Sequence

from nixoci.base.errors import UnusableBaseError
from nixoci.errors import InvalidInputError
from nixoci.image.config import Platform
from nixoci.image.index.platforms import (
    NoImageForPlatformError,
    platform_name,
    position_for,
)
from nixoci.image.manifest_format import MEDIA_TYPE_DOCKER_MANIFEST_LIST, MEDIA_TYPE_INDEX
from nixoci.json_input import get_field, get_list, parse_object

_INDEX_TYPES = (MEDIA_TYPE_INDEX, MEDIA_TYPE_DOCKER_MANIFEST_LIST)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

#: BuildKit's marker of a manifest that is about another one.
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True)
class ListedManifest:
    """:param platform: of the image; None if the index does not say."""

    digest: str
    size: int
    media_type: str
    platform: Optional[Platform]

    @property
    def is_index(self) -> bool:
        """Whether it is an index again."""
        return self.media_type in _INDEX_TYPES


def require_digest(digest: str) -> str:
    """:raises InvalidInputError: it is none of SHA-256."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidInputError("digest", digest, "expected sha256: and 64 hex digits")
    return digest


def platform_of_config(config: bytes) -> Platform:
    """Returns the platform that the config of an image says.

    :raises InvalidInputError: it says none.
    """
    platform = _platform(parse_object("image config", config))
    if platform is None:
        raise InvalidInputError("image config", config[:80], "it says no platform")
    return platform


def platform_text(platform: Platform) -> str:
    """Returns `os/architecture[/variant]`, which `parse_platform` takes."""
    return platform_name(replace(platform, os_version=None))


def parse_index(content: bytes) -> Optional[tuple[ListedManifest, ...]]:
    """Returns the images in an index, in order; None if the document is none (but perhaps a manifest).

    What is no image (an attestation of BuildKit) is left out.

    :raises InvalidInputError: a broken document.
    """
    document = parse_object("image index", content)
    media_type = get_field(document, "mediaType", str, default="")
    # The media type may be absent in documents of OCI's (image-index.md).
    if media_type not in _INDEX_TYPES and (media_type or "manifests" not in document):
        return None
    found = []
    for entry in get_list(document, "manifests", dict):
        if _ATTESTATION in get_field(entry, "annotations", dict, default={}):
            continue
        found.append(
            ListedManifest(
                require_digest(get_field(entry, "digest", str)),
                get_field(entry, "size", int),
                get_field(entry, "mediaType", str, default=""),
                _platform(get_field(entry, "platform", dict, default=None)),
            )
        )
    return tuple(found)


def choose_manifest(listed: Sequence[ListedManifest], platform: Platform) -> ListedManifest:
    """Returns the image that a machine of a platform takes, see `position_for`.

    :raises UnusableBaseError: there is none, or it is an index itself.
    """
    known = [one for one in listed if one.platform is not None]
    platforms = [one.platform for one in known if one.platform is not None]
    try:
        chosen = known[position_for(platforms, platform)]
    except NoImageForPlatformError:
        there = sorted({platform_text(one) for one in platforms})
        nested = any(one.is_index for one in listed)
        raise UnusableBaseError(
            f"it has no image for {platform_text(platform)}, only for {', '.join(there) or 'none'}"
            + (
                "; there are indexes in its index, which are not looked into: name the digest of one of them"
                if nested
                else ""
            )
        ) from None
    if chosen.is_index:
        raise UnusableBaseError(
            f"what its index has for {platform_text(platform)} is an index again, {chosen.digest}; name the "
            "digest of that one"
        )
    return chosen


def _platform(document: Optional[Mapping[str, Any]]) -> Optional[Platform]:
    if document is None:
        return None
    os = get_field(document, "os", str, default="")
    architecture = get_field(document, "architecture", str, default="")
    if not os or not architecture or "unknown" in (os, architecture):
        return None
    return Platform(
        os,
        architecture,
        get_field(document, "variant", str, default="") or None,
        get_field(document, "os.version", str, default="") or None,
    )
