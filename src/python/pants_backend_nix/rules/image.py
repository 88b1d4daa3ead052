"""Layers and config → image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.image import Image, LayerInImage, assemble
from nixoci.image_config import ImageConfig, merge as merge_config
from nixoci.image_config_values import ARCHITECTURE_OF
from nixoci.layering import MAX_LAYERS
from pants.engine.addresses import Address, Addresses, UnparsedAddressInputs
from pants.engine.fs import Digest
from pants.engine.rules import collect_rules
from pants.engine.target import (
    DependenciesRequest,
    DictStringToStringField,
    StringField,
    StringSequenceField,
    Target,
)

from pants_backend_nix import target_types as fields
from pants_backend_nix.database_fields import (
    NixDatabaseField,
    NixDatabaseSignaturesField,
    owner_of_nix,
)
from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    addresses_of,
    concurrently,
    dependencies_of,
    implicitly,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.interpolation import Interpolation
from pants_backend_nix.rules.digested import DigestedLayersRequest, digest_layers
from pants_backend_nix.rules.evaluate import NixPackage, NixPackageRequest, evaluate_package
from pants_backend_nix.rules.layers import LayerTargetsRequest, resolve_layer_targets
from pants_backend_nix.rules.step import StoreStep, run_store_step
from pants_backend_nix.subsystem import NixSubsystem

if TYPE_CHECKING:
    from nixoci.layer import Recipe


@dataclass(frozen=True)
class ImageRequest:
    """:param address: of a `nix_image`.
    :param session: makes it of what the store of this machine has, see `LayersRequest`.
    """

    address: Address
    session: Optional[int] = None


@dataclass(frozen=True)
class BuiltImage:
    """:param recipes: one for each layer of the image, bottom first.
    :param packages: all that the image's paths may come from.
    :param kept: as in `DigestedLayers`.
    """

    image: Image
    recipes: tuple[Recipe, ...]
    packages: tuple[NixPackage, ...]
    kept: Digest

async def _named_packages(target: Target) -> tuple[NixPackage, ...]:
    """Returns the packages among the direct dependencies."""
    dependencies = await dependencies_of(DependenciesRequest(target[fields.NixImageDependenciesField]))
    targets = await targets_of(dependencies)
    origin = f"The dependencies of {target.address}"
    return await concurrently(
        evaluate_package(NixPackageRequest(dependency.address, origin), **implicitly())
        for dependency in targets
        if dependency.has_field(fields.NixPackageSourceField)
    )


async def _config_package(target: Target) -> Optional[NixPackage]:
    field = target[fields.NixConfigField]
    if field.value is None:
        return None
    origin = f"the field `config` of {target.address}"
    (address,) = await addresses_of(
        UnparsedAddressInputs(
            [field.value], owning_address=target.address, description_of_origin=origin
        )
    )
    return await evaluate_package(
        NixPackageRequest(address, f"The field `config` of {target.address}"), **implicitly()
    )


async def _read_config(target: Target, package: Optional[NixPackage]) -> ImageConfig:
    if package is None:
        return ImageConfig()
    step = await run_store_step(
        StoreStep(
            ("read-file", "--output=config.json", package.path()),
            f"Read the image config of {package.address}",
            (package,),
            output="config.json",
            environment=EnvironmentNameRequest.from_target(target),
        ),
        **implicitly(),
    )
    try:
        return ImageConfig.from_json(step.output)
    except InvalidInputError as error:
        raise NixImageError(
            f"The field `config` of {target.address}: {package.path()}, which {package.address} "
            f"made, is no image config. {error}"
        ) from None


@rule(desc="Assemble image")
async def build_image(request: ImageRequest, nix: NixSubsystem) -> BuiltImage:
    (target,) = await targets_of(Addresses([request.address]))
    address = target.address
    resolved = await resolve_layer_targets(LayerTargetsRequest(address), **implicitly())
    named = await _named_packages(target)
    config_package = await _config_package(target)

    used: set[NixPackage] = set()
    everything = (*resolved.packages, *named)
    typed, annotations = _typed_config(
        target, Interpolation.create(address, everything), used
    )
    config = merge_config(await _read_config(target, config_package), typed)
    config_packages = () if config_package is None else (config_package,)
    digested = await digest_layers(
        DigestedLayersRequest(
            address,
            tuple(sorted(used, key=lambda package: package.address.spec)),
            config_packages,
            owner_of_nix(target),
            image=True,
            database=bool(target[NixDatabaseField].value),
            signatures=bool(target[NixDatabaseSignaturesField].value),
            session=request.session,
            here=request.session is not None,
            environment=EnvironmentNameRequest.from_target(target),
        ),
        **implicitly(),
    )
    if len(digested.layers) > MAX_LAYERS:
        raise NixImageError(
            f"{address} would have {len(digested.layers)} layers; container engines take at most "
            f"{MAX_LAYERS}. Lower `max_layers` of the image or of its layers."
        )
    packages = (*resolved.packages, *used, *config_packages)
    config = merge_config(_platform(address, packages, nix), config)
    try:
        image = assemble(
            config,
            list(map(LayerInImage, digested.layers, digested.histories)),
            annotations,
        )
    except InvalidInputError as error:
        raise NixImageError(f"{address}: {error}") from None
    return BuiltImage(
        image,
        digested.recipes,
        tuple(dict.fromkeys(packages)),
        digested.kept,
    )


def _typed_config(
    target: Target, interpolation: Interpolation, used: set[NixPackage]
) -> tuple[ImageConfig, Mapping[str, str]]:
    """Returns what the fields of the target say of the config, and the annotations."""

    def text(field_type: type[StringField]) -> Optional[str]:
        field = target[field_type]
        return None if field.value is None else interpolation.text(field.alias, field.value, used)

    def texts(field_type: type[StringSequenceField]) -> Optional[tuple[str, ...]]:
        field = target[field_type]
        if field.value is None:
            return None
        return tuple(interpolation.text(field.alias, item, used) for item in field.value)

    def pairs(field_type: type[DictStringToStringField]) -> tuple[tuple[str, str], ...]:
        field = target[field_type]
        return tuple(
            (key, interpolation.text(field.alias, value, used))
            for key, value in (field.value or {}).items()
        )

    try:
        config = ImageConfig(
            entrypoint=texts(fields.NixEntrypointField),
            cmd=texts(fields.NixCmdField),
            env=tuple(f"{name}={value}" for name, value in pairs(fields.NixEnvField)),
            working_dir=text(fields.NixWorkingDirField),
            user=target[fields.NixUserField].value,
            exposed_ports=target[fields.NixExposedPortsField].value or (),
            volumes=target[fields.NixVolumesField].value or (),
            labels=pairs(fields.NixLabelsField),
            stop_signal=target[fields.NixStopSignalField].value,
            architecture=target[fields.NixArchitectureField].value,
            os=target[fields.NixOsField].value,
            variant=target[fields.NixVariantField].value,
            created=target[fields.NixCreatedField].value,
            author=target[fields.NixAuthorField].value,
        )
    except InvalidInputError as error:
        raise NixImageError(f"{target.address}: {error}") from None
    return config, dict(pairs(fields.NixAnnotationsField))


def _platform(
    address: Address, packages: Iterable[NixPackage], nix: NixSubsystem
) -> ImageConfig:
    """Returns the platform that the packages are built for, where nothing else says it."""
    systems = sorted({p.evaluation.system for p in packages if p.evaluation is not None})
    if len(systems) > 1:
        raise NixImageError(
            f"{address} has packages for {' and '.join(systems)}. Give them one `system`, or build "
            "an image for each."
        )
    system = systems[0] if systems else nix.default_system
    processor, _, os = system.partition("-")
    return ImageConfig(
        architecture=ARCHITECTURE_OF.get(processor, processor), os=os or "linux"
    )


def rules():
    return collect_rules()
