"""Target with layers → all the layer targets below it, and the packages that they name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterable, Optional

from pants.engine.addresses import Address, Addresses
from pants.engine.rules import collect_rules
from pants.engine.target import StringSequenceField, Target
from pants.util.frozendict import FrozenDict
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import concurrently, implicitly, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.platform import common_system
from pants_backend_nix.rules.flow.evaluate import NixPackageRequest, evaluate_package
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.base.base_image import BaseImageField
from pants_backend_nix.targets.base.fields import NixBaseField
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.closures import (
    NixCopyToRootField,
    NixIgnoreField,
    NixLayersField,
    NixMaxLayersField,
    NixPackagesField,
)
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.contents import NixContentsField
from pants_backend_nix.targets.fields.file_system import NixSymlinksField
from pants_backend_nix.targets.interpolation import Interpolation


@dataclass(frozen=True)
class LayerTarget:
    """One target that holds layers, and what it names.

    :param below: addresses of all the layer targets below it.
    :param symlinks: path and target of those of its field; what they name is among `packages`.
    :param interpreters: of its field `contents`, by what is written there, likewise.
    """

    target: Target
    packages: tuple[NixPackage, ...]
    copied: tuple[NixPackage, ...]
    ignored: tuple[NixPackage, ...]
    below: tuple[Address, ...]
    symlinks: tuple[tuple[str, str], ...] = ()
    interpreters: FrozenDict[str, str] = FrozenDict()

    @property
    def all_packages(self) -> tuple[NixPackage, ...]:
        return (*self.packages, *self.copied, *self.ignored)


@dataclass(frozen=True)
class LayerTargetsRequest:
    """:param address: of a target with the fields of a layer."""

    address: Address


@dataclass(frozen=True)
class LayerTargets:
    """:param targets: bottom first, each once; the last one is the one that was asked for.
    :param images: those of them that are images, which are on top of one another by their fields `base`.
    :param base: the `oci_base_image` that is below all of them.
    """

    targets: tuple[LayerTarget, ...]
    images: tuple[Target, ...] = ()
    base: Optional[Address] = None

    @property
    def packages(self) -> tuple[NixPackage, ...]:
        return tuple(package for target in self.targets for package in target.all_packages)


async def _field_addresses(target: Target, field_type: type[StringSequenceField]) -> Addresses:
    return await field_addresses(target, field_type.alias, target[field_type].value or ())


async def _field_packages(
    target: Target, field_type: type[StringSequenceField]
) -> tuple[NixPackage, ...]:
    addresses = await _field_addresses(target, field_type)
    origin = f"The field `{field_type.alias}` of {target.address}"
    return await concurrently(
        evaluate_package(NixPackageRequest(address, origin), **implicitly())
        for address in addresses
    )


async def _layer_target(target: Target, below: Iterable[Address]) -> LayerTarget:
    packages, copied, ignored = await concurrently(
        _field_packages(target, field_type)
        for field_type in (NixPackagesField, NixCopyToRootField, NixIgnoreField)
    )
    common_system(target, (*packages, *copied, *ignored))
    return LayerTarget(target, packages, copied, ignored, tuple(below))


async def _base(target: Target) -> Optional[Target]:
    """Returns what an image is on top of.

    :raises NixImageError: it is no image.
    """
    field = target.get(NixBaseField)
    if field.value is None:
        return None
    (base,) = await targets_of(await field_addresses(target, field.alias, (field.value,)))
    if not (base.has_field(NixConfigField) or base.has_field(BaseImageField)):
        way_out = " Layers below go into `layers`." if base.has_field(NixMaxLayersField) else ""
        raise NixImageError(
            f"The field `{field.alias}` of {target.address} names {base.address}, which is a `{base.alias}`. "
            f"Name an `oci_base_image` or a `nix_image`.{way_out}"
        )
    return base


@rule(desc="Resolve layers")
async def resolve_layer_targets(request: LayerTargetsRequest) -> LayerTargets:
    (root,) = await targets_of(Addresses([request.address]))
    targets = {root.address: root}
    direct: dict[Address, Addresses] = {}
    waiting = [root.address]
    lowest: Optional[Address] = None
    while waiting:
        address = waiting.pop()
        named = await _field_addresses(targets[address], NixLayersField)
        base = await _base(targets[address])
        direct[address] = named
        if base is not None and not base.has_field(NixConfigField):
            # An image has one base, so there is one that is not on top of another.
            lowest = base.address
        elif base is not None:
            direct[address] = Addresses((base.address, *named))
            if base.address not in targets:
                targets[base.address] = base
                waiting.append(base.address)
        for target in await targets_of(named):
            if not target.has_field(NixMaxLayersField):
                raise NixImageError(
                    f"The field `layers` of {address} names {target.address}, which is a "
                    f"`{target.alias}`. Name a `nix_layer`; packages go into `packages`."
                )
            if target.has_field(NixConfigField):
                raise NixImageError(
                    f"The field `layers` of {address} names {target.address}, which is a "
                    f"`{target.alias}`: its config would be lost. Name it in the field `base`, or a `nix_layer` that "
                    "holds what the two have in common."
                )
            if target.address not in targets:
                targets[target.address] = target
                waiting.append(target.address)
    below: dict[Address, tuple[Address, ...]] = {}
    for address in _bottom_first(root.address, direct):
        reach = dict.fromkeys(b for d in direct[address] for b in (*below[d], d))
        below[address] = tuple(reach)
    resolved = await concurrently(
        _layer_target(targets[address], addresses_below)
        for address, addresses_below in below.items()
    )
    by_address = {layer.target.address: layer for layer in resolved}
    return LayerTargets(
        tuple(
            _with_names(layer, [by_address[address] for address in layer.below])
            for layer in resolved
        ),
        tuple(targets[address] for address in below if targets[address].has_field(NixConfigField)),
        lowest,
    )


def _with_names(layer: LayerTarget, below: Iterable[LayerTarget]) -> LayerTarget:
    """Returns a target with what its strings say of packages, which are its packages, then."""
    target = layer.target
    links: dict[str, str] = dict(target[NixSymlinksField].value or ())
    interpreters = [item.interpreter for item in target[NixContentsField].value or ()]
    if not links and not any(interpreters):
        return layer
    known = [package for one in (layer, *below) for package in one.all_packages]
    interpolation = Interpolation.create(target.address, known)
    used: set[NixPackage] = set()
    symlinks = tuple(
        (path, interpolation.text(NixSymlinksField.alias, to, used))
        for path, to in sorted(links.items())
    )
    found = {
        text: interpolation.text(NixContentsField.alias, text, used)
        for text in interpreters
        if text is not None
    }
    more = sorted(used, key=lambda package: (package.address.spec, package.outputs))
    packages = tuple(dict.fromkeys((*layer.packages, *more)))
    return replace(
        layer, packages=packages, symlinks=symlinks, interpreters=FrozenDict(found)
    )


def _bottom_first(root: Address, direct: dict[Address, Addresses]) -> tuple[Address, ...]:
    """Returns what `root` reaches, each after all that is below it.

    :raises NixImageError: a layer is below itself.
    """
    order: dict[Address, None] = {}
    stack = [(root, iter(direct[root]))]
    while stack:
        address, rest = stack[-1]
        following = next((a for a in rest if a not in order), None)
        if following is None:
            order[address] = None
            stack.pop()
        else:
            above = [address for address, _ in stack]
            if following in above:
                cycle = [*above[above.index(following) :], following]
                raise NixImageError(
                    f"{following} is below itself by the fields `layers` and `base`; take one of these out:\n"
                    + bullet_list(address.spec for address in cycle)
                )
            stack.append((following, iter(direct[following])))
    return tuple(order)


def rules():
    return collect_rules()
