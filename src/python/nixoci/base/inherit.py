"""The config of an image on top of another one: the meaning of FROM in a Dockerfile."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from nixoci.image.config import ImageConfig, merge

#: What says for which machine an image is.
_PLATFORM = {
    "os": "operating system",
    "architecture": "architecture",
    "variant": "variant",
    "os_version": "version of the operating system",
}


def inherit(base: ImageConfig, own: ImageConfig) -> ImageConfig:
    """Returns what `own` is on top of `base`, as `docker build` makes it of the same instructions.

    `merge`, with these exceptions: an `entrypoint` of `own` clears the `cmd` of `base`, which were its
    arguments; `created` and `author` are those of `own`.
    """
    merged = merge(base, own)
    if own.entrypoint is not None:
        merged = replace(merged, cmd=own.cmd)
    return replace(merged, created=own.created, author=own.author)


def only_platform(base: ImageConfig) -> ImageConfig:
    """Returns what an image that inherits nothing has of its base all the same."""
    return ImageConfig(
        architecture=base.architecture,
        os=base.os,
        variant=base.variant,
        os_version=base.os_version,
    )


def platform_difference(base: ImageConfig, own: ImageConfig) -> Optional[str]:
    """Returns in what an image cannot be on top of a base, or None; what one does not say fits.

    :returns: as `architecture 'arm64', not 'amd64'`: that of the base comes first.
    """
    for field, name in _PLATFORM.items():
        below, above = getattr(base, field), getattr(own, field)
        if None not in (below, above) and below != above:
            return f"{name} {below!r}, not {above!r}"
    return None
