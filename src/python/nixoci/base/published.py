"""What a tag stands for → the one image that is meant."""

from __future__ import annotations

from typing import Optional

from nixoci.base.errors import UnusableBaseError
from nixoci.base.index import choose_manifest, parse_index, platform_text
from nixoci.errors import InvalidInputError
from nixoci.image.config import Platform
from nixoci.image.reference import Reference
from nixoci.registry.published_layers import UnusableImageError


def published_image(
    reference: Reference, manifest: bytes, platform: Optional[Platform]
) -> Optional[str]:
    """Returns the digest of the image of an index that is for a platform; None if the manifest is no index.

    :param reference: that the manifest is of, for errors.
    :param manifest: what is wrong with one is for its reader to say.
    :param platform: None for a manifest that has to be one of an image.
    :raises UnusableImageError: it is an index and no platform is given, or has none for it; or a platform is given for
        what is one image.
    """
    try:
        listed = parse_index(manifest)
    except InvalidInputError:
        return None
    if listed is None and platform is None:
        return None
    if listed is None:
        raise UnusableImageError(reference, "it is one image, and no index; leave --platform out")
    if platform is None:
        there = {platform_text(one.platform) for one in listed if one.platform is not None}
        raise UnusableImageError(
            reference,
            f"it is an index of images for several platforms ({', '.join(sorted(there)) or 'which it does not say'}); "
            "choose one with --platform",
        )
    try:
        return choose_manifest(listed, platform).digest
    except UnusableBaseError as error:
        raise UnusableImageError(reference, error.why) from None
