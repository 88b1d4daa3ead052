"""Addresses in fields are dependencies: `packages`, `layers` and their like, `config` and `base`."""

from __future__ import annotations

from dataclasses import dataclass

from pants.engine.addresses import Address, Addresses
from pants.engine.rules import collect_rules
from pants.engine.target import (
    Dependencies,
    DependenciesRequest,
    FieldSet,
    InferDependenciesRequest,
    InferredDependencies,
)
from pants.engine.unions import UnionRule

from pants_backend_nix.engine import concurrently, dependencies_of, rule, targets_of
from pants_backend_nix.targets.addresses import possible_addresses
from pants_backend_nix.targets.base.base_image import BaseArchiveField
from pants_backend_nix.targets.base.fields import NixBaseField
from pants_backend_nix.targets.fields.closures import (
    NixCopyToRootField,
    NixIgnoreField,
    NixLayerDependenciesField,
    NixLayersField,
    NixPackagesField,
)
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.contents import NixContents, NixContentsField
from pants_backend_nix.targets.fields.file_system import NixCaCertificatesField
from pants_backend_nix.targets.layer_plan import NixLayerPlanField, NixPlannedImagesField


@dataclass(frozen=True)
class LayerDependenciesFieldSet(FieldSet):
    """`nix_layer`; and `nix_image`, which has `config` besides."""

    required_fields = (NixLayerDependenciesField,)

    packages: NixPackagesField
    copy_to_root: NixCopyToRootField
    ignore: NixIgnoreField
    layers: NixLayersField
    config: NixConfigField
    base: NixBaseField
    plan: NixLayerPlanField
    contents: NixContentsField
    ca_certificates: NixCaCertificatesField


class InferLayerDependencies(InferDependenciesRequest):
    infer_from = LayerDependenciesFieldSet


def _addresses(value: object) -> tuple[str, ...]:
    """Returns the addresses in the value of a field, as they are written."""
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    return tuple(
        address
        for item in values
        for address in (item.addresses if isinstance(item, NixContents) else (str(item),))
    )


@rule(desc="Infer dependencies of Nix layers and images")
async def infer_layer_dependencies(request: InferLayerDependencies) -> InferredDependencies:
    field_set = request.field_set
    (target,) = await targets_of(Addresses([field_set.address]))
    found: list[Address] = []
    for field in (
        field_set.packages,
        field_set.copy_to_root,
        field_set.ignore,
        field_set.layers,
        field_set.config,
        field_set.base,
        field_set.plan,
        field_set.contents,
        field_set.ca_certificates,
    ):
        found.extend(await possible_addresses(target, field.alias, _addresses(field.value)))
    return InferredDependencies(found)


@dataclass(frozen=True)
class BaseDependenciesFieldSet(FieldSet):
    required_fields = (BaseArchiveField,)

    archive: BaseArchiveField


class InferBaseDependencies(InferDependenciesRequest):
    infer_from = BaseDependenciesFieldSet


@rule(desc="Infer dependencies of base images")
async def infer_base_dependencies(request: InferBaseDependencies) -> InferredDependencies:
    field = request.field_set.archive
    (target,) = await targets_of(Addresses([request.field_set.address]))
    return InferredDependencies(
        await possible_addresses(target, field.alias, _addresses(field.value))
    )


@dataclass(frozen=True)
class PlanDependenciesFieldSet(FieldSet):
    required_fields = (NixPlannedImagesField,)

    images: NixPlannedImagesField


class InferPlanDependencies(InferDependenciesRequest):
    infer_from = PlanDependenciesFieldSet


@rule(desc="Infer dependencies of layer plans")
async def infer_plan_dependencies(request: InferPlanDependencies) -> InferredDependencies:
    """The images depend on their plan, so the plan depends on what they depend on."""
    field = request.field_set.images
    (plan,) = await targets_of(Addresses([request.field_set.address]))
    addresses = await possible_addresses(plan, field.alias, field.value or ())
    images = await targets_of(addresses)
    dependencies = await concurrently(
        dependencies_of(DependenciesRequest(image.get(Dependencies))) for image in images
    )
    found = {address for of_image in dependencies for address in of_image}
    # Nor is another variant of the plan, which an image depends on that does not say which one it has.
    own = plan.address.maybe_convert_to_target_generator()
    return InferredDependencies(
        sorted(one for one in found if one.maybe_convert_to_target_generator() != own)
    )


def rules():
    return (
        *collect_rules(),
        UnionRule(InferDependenciesRequest, InferLayerDependencies),
        UnionRule(InferDependenciesRequest, InferBaseDependencies),
        UnionRule(InferDependenciesRequest, InferPlanDependencies),
    )
