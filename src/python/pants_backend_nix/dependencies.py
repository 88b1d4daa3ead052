"""Addresses in fields are dependencies: `packages`, `layers` and their like, and `config`."""

from __future__ import annotations

from dataclasses import dataclass

from pants.engine.addresses import Address, UnparsedAddressInputs
from pants.engine.rules import collect_rules
from pants.engine.target import FieldSet, InferDependenciesRequest, InferredDependencies
from pants.engine.unions import UnionRule

from pants_backend_nix.engine import addresses_of, rule
from pants_backend_nix.target_types import (
    NixConfigField,
    NixCopyToRootField,
    NixIgnoreField,
    NixLayerDependenciesField,
    NixLayersField,
    NixPackagesField,
)


@dataclass(frozen=True)
class LayerDependenciesFieldSet(FieldSet):
    """`nix_layer`; and `nix_image`, which has `config` besides."""

    required_fields = (NixLayerDependenciesField,)

    packages: NixPackagesField
    copy_to_root: NixCopyToRootField
    ignore: NixIgnoreField
    layers: NixLayersField
    config: NixConfigField


class InferLayerDependencies(InferDependenciesRequest):
    infer_from = LayerDependenciesFieldSet


@rule(desc="Infer dependencies of Nix layers and images")
async def infer_layer_dependencies(request: InferLayerDependencies) -> InferredDependencies:
    field_set = request.field_set
    found: list[Address] = []
    for field in (
        field_set.packages,
        field_set.copy_to_root,
        field_set.ignore,
        field_set.layers,
        field_set.config,
    ):
        values = (field.value,) if isinstance(field.value, str) else field.value
        if values:
            found.extend(
                await addresses_of(
                    UnparsedAddressInputs(
                        values,
                        owning_address=field_set.address,
                        description_of_origin=f"the field `{field.alias}` of {field_set.address}",
                    )
                )
            )
    return InferredDependencies(found)


def rules():
    return (*collect_rules(), UnionRule(InferDependenciesRequest, InferLayerDependencies))
