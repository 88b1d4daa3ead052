"""Platforms of images: which of them are the same to an engine, and which image a machine takes."""

from __future__ import annotations

import os
import re
from typing import Optional, Sequence, Union

from nixoci.errors import InvalidInputError, NixOciError, printable
from nixoci.image.config import Platform
from nixoci.image.config_values import ARCHITECTURE_OF

#: The level of an architecture that an image without a variant is for, as engines read it (containerd,
#: `platforms.Normalize`): `v1` of amd64, `v7` of arm, `v8` of arm64.
_DEFAULT_LEVELS = {"amd64": 1.0, "arm": 7.0, "arm64": 8.0}

_LEVEL = re.compile(r"v([0-9]{1,2}(?:\.[0-9]{1,2})?)")
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ARM = re.compile(r"armv([5-8])")


class NoImageForPlatformError(NixOciError):
    """An index has no image for a platform.

    :param platform: as `platform_name`.
    :param platforms: those that it has images for.
    """

    def __init__(self, platform: str, platforms: Sequence[str]) -> None:
        self.platform = platform
        self.platforms = tuple(platforms)
        super().__init__(
            f"There is no image for {printable(platform, 100)} in the index, which has images for "
            f"{', '.join(platforms)}."
        )


def platform_name(platform: Platform) -> str:
    """Returns a platform as people and engines write it: `linux/arm/v7`."""
    parts = (platform.os, platform.architecture, platform.variant)
    name = "/".join(part for part in parts if part)
    return f"{name} ({platform.os_version})" if platform.os_version else name


def parse_platform(text: str) -> Platform:
    """Parses `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`, by the names of the Go language.

    :raises InvalidInputError: not such a text.
    """
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(map(_PART.fullmatch, parts)):
        raise InvalidInputError(
            "platform", text, "expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64"
        )
    architecture = ARCHITECTURE_OF.get(parts[1], parts[1])
    return Platform(parts[0], architecture, parts[2] if len(parts) == 3 else None)


def machine_platform() -> Platform:
    """Returns the platform of containers on this machine: where it is no FreeBSD, engines run Linux."""
    system, _, _, _, machine = os.uname()
    arm = _ARM.match(machine)
    return Platform(
        "freebsd" if system == "FreeBSD" else "linux",
        "arm" if arm else ARCHITECTURE_OF.get(machine, machine),
        f"v{arm[1]}" if arm else None,
    )


def platform_key(platform: Platform) -> tuple[str, str, Union[str, float], str]:
    """Returns a value that is the same for platforms between which an engine cannot choose.

    That of `arm64` and `arm64/v8` is the same.
    """
    level = _level(platform)
    variant = platform.variant or ""
    return (
        platform.os,
        platform.architecture,
        variant if level is None else level,
        platform.os_version or "",
    )


def position_for(platforms: Sequence[Platform], platform: Platform) -> int:
    """Returns which image a machine takes: the one for the highest variant that it runs.

    :param platforms: of the images.
    :param platform: of the machine; without a variant it runs what images without a variant are for.
    :raises NoImageForPlatformError: no image is for it.
    """
    own = _level(platform)
    best: Optional[tuple[float, int]] = None
    for position, other in enumerate(platforms):
        if (other.os, other.architecture) != (platform.os, platform.architecture):
            continue
        level = _level(other)
        if own is None or level is None:
            if other.variant == platform.variant and best is None:
                best = 0.0, position
        elif level <= own and (best is None or level > best[0]):
            best = level, position
    if best is None:
        raise NoImageForPlatformError(
            platform_name(platform), [platform_name(other) for other in platforms]
        )
    return best[1]


def _level(platform: Platform) -> Optional[float]:
    """Returns the number of the variant; None if variants of the architecture are not in an order."""
    default = _DEFAULT_LEVELS.get(platform.architecture)
    if default is None or not platform.variant:
        return default
    match = _LEVEL.fullmatch(platform.variant)
    return None if match is None else float(match[1])
