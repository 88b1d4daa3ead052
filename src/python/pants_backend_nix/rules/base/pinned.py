"""Target `oci_base_image` → the digest that is meant: that of its field, or of its lock file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nixoci.base.errors import UnusableBaseError
from nixoci.base.lock import BaseLock
from nixoci.errors import InvalidInputError
from nixoci.image.index.platforms import parse_platform
from nixoci.image.reference import Reference
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import PathGlobs
from pants.engine.rules import collect_rules
from pants.util.docutil import bin_name

from pants_backend_nix.engine import contents, files_matching, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.base.base_image import (
    BaseDigestField,
    BaseImageField,
    BaseLockField,
    BasePlatformField,
)


@dataclass(frozen=True)
class PinnedBaseRequest:
    """:param address: of an `oci_base_image`.
    :param platform: as text, of the image that is on top of it.
    """

    address: Address
    platform: str


@dataclass(frozen=True)
class PinnedBase:
    """:param digest: of an index or a manifest.
    :param platform: that is taken from an index.
    """

    repository: str
    digest: str
    platform: str


async def _lock_file(path: Optional[str]) -> Optional[bytes]:
    found = await contents(await files_matching(PathGlobs([path] if path else [])))
    return found[0].content if found else None


@rule
async def pin_base(request: PinnedBaseRequest) -> PinnedBase:
    (target,) = await targets_of(Addresses([request.address]))
    address = target.address
    image = target[BaseImageField].value or ""
    platform = target[BasePlatformField].value or request.platform
    repository = Reference.parse(image).repository
    digest = target[BaseDigestField].value
    if digest is not None:
        return PinnedBase(repository, digest, platform)
    path = target[BaseLockField].file_path
    content = await _lock_file(path)
    way_out = f"Run `{bin_name()} nix-lock {address}`"
    if content is None:
        raise NixImageError(
            f"{address}: a tag may be another image tomorrow, and {path} is not there to say which one {image} is. "
            f"{way_out}, or set the field `{BaseDigestField.alias}`."
        )
    try:
        lock = BaseLock.from_json(content)
    except InvalidInputError as error:
        raise NixImageError(f"{address}: {path} cannot be read. {error} {way_out}.") from None
    if lock.image != str(Reference.parse(image)):
        raise NixImageError(
            f"{address}: {path} is of {lock.image}, and the field `{BaseImageField.alias}` is {image!r}. {way_out}."
        )
    try:
        return PinnedBase(repository, lock.choose(parse_platform(platform)).digest, platform)
    except UnusableBaseError as error:
        raise NixImageError(
            f"{address}: {lock.image} as {path} has it cannot be the base: {error}. Choose one by the field "
            f"`{BasePlatformField.alias}`. If the image has more platforms now: {way_out}."
        ) from None


def rules():
    return collect_rules()
