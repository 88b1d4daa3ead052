"""Target `oci_base_image` → the image, for a platform: without its layers, which nobody reads yet."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.base.errors import UnusableBaseError
from nixoci.base.image import BaseImage
from nixoci.errors import InvalidInputError
from nixoci.image.index.platforms import parse_platform
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import implicitly, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.base.archive import BaseArchiveRequest, read_base_archive
from pants_backend_nix.rules.base.documents import BaseDocumentsRequest, find_base_documents
from pants_backend_nix.rules.base.pinned import PinnedBaseRequest, pin_base
from pants_backend_nix.targets.base.base_image import (
    BaseArchiveField,
    BaseImageField,
    BaseNixStoreField,
)


@dataclass(frozen=True)
class BaseImageRequest:
    """:param address: of an `oci_base_image`.
    :param platform: as text, of the image that is on top of it.
    """

    address: Address
    platform: str


@dataclass(frozen=True)
class FoundBase:
    """:param name: the image with its digest, for people.
    :param has_nix_database: as far as anybody says so.
    :param contents: a tree of the files that have its layers, if no registry is to be asked for them.
    """

    name: str
    image: BaseImage
    has_nix_database: bool
    contents: Digest = EMPTY_DIGEST


@rule(desc="Find base image")
async def find_base(request: BaseImageRequest) -> FoundBase:
    (target,) = await targets_of(Addresses([request.address]))
    says_so = target[BaseNixStoreField].value
    if (target[BaseImageField].value is None) == (target[BaseArchiveField].value is None):
        raise NixImageError(
            f"{target.address} needs one of the fields `{BaseImageField.alias}`, an image in a registry, and "
            f"`{BaseArchiveField.alias}`, one in a file."
        )
    if target[BaseArchiveField].value is not None:
        read = await read_base_archive(
            BaseArchiveRequest(request.address, request.platform), **implicitly()
        )
        has_database = says_so or read.image.has_nix_database
        return FoundBase(read.name, read.image, has_database, read.contents)
    pinned = await pin_base(
        PinnedBaseRequest(request.address, request.platform), **implicitly()
    )
    name = f"{pinned.repository}@{pinned.digest}"
    origin = f"{target.address}: {name}"
    found = await find_base_documents(
        BaseDocumentsRequest(pinned.repository, pinned.digest, pinned.platform, origin),
        **implicitly(),
    )
    try:
        image = found.documents.parse(
            pinned.digest, parse_platform(pinned.platform), (pinned.repository,)
        )
    except (UnusableBaseError, InvalidInputError) as error:
        raise NixImageError(f"{origin} cannot be a base: {error}") from None
    return FoundBase(name, image, says_so or image.has_nix_database)


def rules():
    return collect_rules()
