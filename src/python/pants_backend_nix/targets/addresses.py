"""Addresses in fields → targets: of one that is parametrized, the variant for the system of who names it."""

from __future__ import annotations

from typing import Sequence

from pants.base.specs import AddressLiteralSpec, RawSpecsWithoutFileOwners
from pants.engine.addresses import Address, Addresses, AddressInput, UnparsedAddressInputs
from pants.engine.target import Target
from pants.util.frozendict import FrozenDict
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import addresses_matching, addresses_of, concurrently, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.package import NixSystemField


async def _variants(owner: Address, alias: str, values: Sequence[str]) -> tuple[Addresses, ...]:
    """Returns the addresses that each value can stand for: several if its target is parametrized."""
    if not values:
        return ()
    origin = f"the field `{alias}` of {owner}"
    # Whether there are such targets is not looked at here, as of a parametrized one there is only variants.
    addresses = await addresses_of(
        UnparsedAddressInputs(
            values,
            owning_address=owner,
            description_of_origin=origin,
            skip_invalid_addresses=True,
        )
    )
    if len(addresses) != len(values):
        # This fails, and says why.
        addresses = await addresses_of(
            UnparsedAddressInputs(values, owning_address=owner, description_of_origin=origin)
        )
    return await concurrently(
        addresses_matching(
            RawSpecsWithoutFileOwners(origin, address_literals=(_literal(address, origin),))
        )
        for address in addresses
    )


def _literal(address: Address, origin: str) -> AddressLiteralSpec:
    parts = AddressInput.parse(address.spec, description_of_origin=origin)
    return AddressLiteralSpec(
        parts.path_component,
        parts.target_component,
        parts.generated_component,
        FrozenDict(parts.parameters),
    )


async def _for_system(target: Target, variants: Addresses) -> Addresses:
    """Returns the variants that are for the system that the field `system` of a target says."""
    system = target.get(NixSystemField).value
    if system is None:
        return Addresses()
    return Addresses(
        variant.address
        for variant in await targets_of(variants)
        if variant.get(NixSystemField).value == system
    )


async def _ambiguous(
    target: Target, alias: str, value: str, variants: Addresses, for_system: Addresses
) -> NixImageError:
    """Returns the error that says how a variant is chosen."""
    systems = {variant.get(NixSystemField).value for variant in await targets_of(variants)}
    known = sorted(one for one in systems if one is not None)
    system = target.get(NixSystemField).value
    way_out = "Name one of these"
    why = ""
    if len(known) > 1 and target.has_field(NixSystemField):
        way_out += f", or choose by the field `system` of {target.address}: {', '.join(known)}"
    if system is not None and known:
        which = "several of its variants are" if for_system else "none of its variants is"
        why = f" and {which} for the `system` {system!r} of {target.address}"
    return NixImageError(
        f"The field `{alias}` of {target.address} names {value!r}, which is parametrized{why}. {way_out}:\n\n"
        + bullet_list(sorted(variant.spec for variant in variants))
    )


async def field_addresses(target: Target, alias: str, values: Sequence[str]) -> Addresses:
    """Returns what a field of a target names, an address for each one that is written.

    :param values: addresses as they are written.
    :raises NixImageError: a parametrized target is named, and the field `system` does not say which of its
        variants is meant.
    """
    found: list[Address] = []
    for value, variants in zip(values, await _variants(target.address, alias, values)):
        if len(variants) > 1:
            for_system = await _for_system(target, variants)
            if len(for_system) != 1:
                raise await _ambiguous(target, alias, value, variants, for_system)
            variants = for_system
        found.extend(variants)
    return Addresses(found)


async def possible_addresses(target: Target, alias: str, values: Sequence[str]) -> Addresses:
    """As `field_addresses`, but returns all variants where it is not said which one is meant.

    For dependencies: those of all targets are asked for by goals that have nothing to do with images.
    """
    found: dict[Address, None] = {}
    for variants in await _variants(target.address, alias, values):
        if len(variants) > 1:
            for_system = await _for_system(target, variants)
            variants = for_system if len(for_system) == 1 else variants
        found.update(dict.fromkeys(variants))
    return Addresses(found)
