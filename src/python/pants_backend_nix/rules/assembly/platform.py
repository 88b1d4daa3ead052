"""Packages and fields → the platform of an image, and whether they agree about it."""

from __future__ import annotations

import re
from typing import Iterable, Optional

from nixoci.image.config import ImageConfig
from nixoci.image.config_values import ARCHITECTURE_OF, ARCHITECTURES, OPERATING_SYSTEMS
from pants.engine.target import Target

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.config import (
    NixArchitectureField,
    NixConfigField,
    NixOsField,
    NixVariantField,
)
from pants_backend_nix.targets.package import NixSystemField

#: Processors that run programs of others as well.
_RUNS = {
    "x86_64": frozenset({"i386", "i486", "i586", "i686"}),
    "i686": frozenset({"i386", "i486", "i586"}),
    "aarch64": frozenset({"armv5tel", "armv6l", "armv7l"}),
    "armv7l": frozenset({"armv5tel", "armv6l"}),
    "armv6l": frozenset({"armv5tel"}),
}

#: The variants of processors, as Go and container engines name them (GOAMD64, GOARM, GOARM64).
_VARIANTS = {
    "amd64": re.compile("v[1-4]"),
    "arm": re.compile("v[5-8]"),
    "arm64": re.compile(r"v[89](\.[0-9])?"),
}

#: The lowest variant that runs programs for a processor.
_LOWEST_VARIANT = {"armv6l": "v6", "armv7l": "v7"}

_WAY_OUT = (
    "Give the packages the same `system`, take those that are cross-compiled from one package set (such as "
    "`pkgsCross.aarch64-multiplatform`), or make an image for each"
)


def common_system(target: Target, packages: Iterable[NixPackage]) -> Optional[str]:
    """Returns the Nix system that a target is for: what its field `system` says, or else its packages.

    :param packages: of the target. What one is for that is just a store path is not known.
    :returns: None if neither says anything.
    :raises NixImageError: packages for two systems, or for another one than the field says.
    """
    wanted = target.get(NixSystemField).value
    by_system: dict[str, NixPackage] = {}
    for package in packages:
        if package.system is not None:
            by_system.setdefault(package.system, package)
    for system, package in by_system.items():
        if wanted is not None and not _runs(wanted, system):
            raise NixImageError(
                f"The field `system` of {target.address} is {wanted!r}, but its package {package.address} is for "
                f"{system}. Correct `system`, or name a package that is for {wanted}: one that has that `system`, "
                "or that is cross-compiled for it."
            )
    if wanted is not None:
        return wanted
    for system in by_system:
        if all(_runs(system, other) for other in by_system):
            return system
    if by_system:
        systems = sorted(by_system)
        examples = ", ".join(f"{by_system[system].address} is for {system}" for system in systems)
        raise NixImageError(
            f"{target.address} has packages for {' and '.join(systems)}: {examples}. {_WAY_OUT}."
        )
    return None


def image_platform(
    target: Target,
    packages: Iterable[NixPackage],
    config: ImageConfig,
    by_field: ImageConfig,
    default_system: str,
) -> ImageConfig:
    """Returns the platform that packages are for, where nothing else says it.

    :param target: the image.
    :param packages: all that are in it.
    :param config: what the package `config` and the fields say together.
    :param by_field: what the fields alone say.
    :param default_system: of an image without packages.
    :raises NixImageError: packages are for one platform, and fields or config say another.
    """
    packages = tuple(packages)
    common = common_system(target, packages)
    known = [(common, f"the field `system` is {common!r}")] if target[NixSystemField].value else [
        (package.system, f"its package {package.address} is for {package.system}")
        for package in packages
    ]
    for system, why in known:
        if system is not None:
            _require_agreement(target, system, why, config, by_field)
    architecture, os = _platform(common or default_system)
    found = ImageConfig(
        architecture=None if config.architecture else _checked(target, architecture, ARCHITECTURES),
        os=None if config.os else _checked(target, os, OPERATING_SYSTEMS),
    )
    _require_variant(target, config.architecture or architecture, config, by_field)
    return found


def _runs(machine: str, program: str) -> bool:
    """Returns whether a machine of one Nix system runs programs for another one."""
    processor, _, os = machine.partition("-")
    other, _, other_os = program.partition("-")
    return os == other_os and (processor == other or other in _RUNS.get(processor, ()))


def _platform(system: str) -> tuple[str, str]:
    """Returns architecture and operating system as images name them."""
    processor, _, os = system.partition("-")
    return ARCHITECTURE_OF.get(processor, processor), os or "linux"


def _checked(target: Target, name: str, known: frozenset[str]) -> str:
    if name not in known:
        raise NixImageError(
            f"{target.address} has packages for {name!r}, for which images have another name. Say it in the "
            f"fields `{NixArchitectureField.alias}` and `{NixOsField.alias}`: images use those of the Go language."
        )
    return name


def _require_agreement(
    target: Target, system: str, why: str, config: ImageConfig, by_field: ImageConfig
) -> None:
    """:raises NixImageError: the config says another platform than that of a Nix system."""
    processor, _, system_os = system.partition("-")
    architecture, os = _platform(system)
    hosts = {machine for machine, others in _RUNS.items() if processor in others}
    allowed = {architecture, *(_platform(f"{host}-{system_os}")[0] for host in hosts)}
    for field, said, own, wanted, known in (
        (
            NixArchitectureField,
            config.architecture,
            by_field.architecture,
            architecture,
            ARCHITECTURES,
        ),
        (NixOsField, config.os, by_field.os, os, OPERATING_SYSTEMS),
    ):
        # Where images have another name for it, it cannot be told whether that is meant.
        if said in (None, wanted) or said in allowed or wanted not in known:
            continue
        raise NixImageError(
            f"{_origin(target, field.alias, own)} is {said!r}, but {why}, which is {wanted!r}. Leave "
            f"`{field.alias}` out, or name packages that are for {said}: by the field `system` of the "
            "packages, or out of a package set for cross compilation, such as `pkgsCross.aarch64-multiplatform`."
        )
    lowest = _LOWEST_VARIANT.get(processor)
    variant = config.variant
    if (
        lowest is not None
        and variant is not None
        and config.architecture in (None, "arm")
        and _VARIANTS["arm"].fullmatch(variant)
        and variant < lowest
    ):
        raise NixImageError(
            f"{_origin(target, NixVariantField.alias, by_field.variant)} is {variant!r}, but {why}, which needs "
            f"{lowest!r}. Leave it out, or set it to {lowest!r}."
        )


def _require_variant(
    target: Target, architecture: str, config: ImageConfig, by_field: ImageConfig
) -> None:
    """:raises NixImageError: the variant is one of other processors only."""
    variant = config.variant
    if variant is None:
        return
    having = [name for name, pattern in _VARIANTS.items() if pattern.fullmatch(variant)]
    if having and architecture not in having:
        raise NixImageError(
            f"{_origin(target, NixVariantField.alias, by_field.variant)} is {variant!r}, which is a variant of "
            f"{' and '.join(having)}, but the image is for {architecture}. Leave it out, or set "
            f"`{NixArchitectureField.alias}` to the processor that it is a variant of."
        )


def _origin(target: Target, alias: str, by_field: Optional[str]) -> str:
    """Returns where a value of the config is said."""
    if by_field is not None:
        return f"The field `{alias}` of {target.address}"
    return (
        f"In the file of the field `{NixConfigField.alias}` ({target[NixConfigField].value}) of {target.address}, "
        f"`{alias}`"
    )
