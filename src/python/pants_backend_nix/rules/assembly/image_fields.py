"""Image target → what its fields say of the config, and the packages that they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig
from pants.engine.addresses import Address, Addresses
from pants.engine.rules import collect_rules
from pants.engine.target import (
    DependenciesRequest,
    DictStringToStringField,
    StringField,
    StringSequenceField,
    Target,
)
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import (
    concurrently,
    dependencies_of,
    implicitly,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.flow.evaluate import NixPackageRequest, evaluate_package
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.config import (
    NixAnnotationsField,
    NixArchitectureField,
    NixCmdField,
    NixConfigField,
    NixCreatedField,
    NixEntrypointField,
    NixEnvField,
    NixExposedPortsField,
    NixHealthcheckField,
    NixLabelsField,
    NixOsField,
    NixStopSignalField,
    NixUserField,
    NixVariantField,
    NixVolumesField,
    NixWorkingDirField,
    healthcheck_of,
)
from pants_backend_nix.targets.fields.history import NixAuthorField
from pants_backend_nix.targets.image import NixImageDependenciesField
from pants_backend_nix.targets.interpolation import Interpolation
from pants_backend_nix.targets.package import NixPackageSourceField


@dataclass(frozen=True)
class ImageFieldsRequest:
    """:param address: of a `nix_image`."""

    address: Address


@dataclass(frozen=True)
class ImageFields:
    """:param config: what the typed fields come to, without what `config` says.
    :param packages: those that are named in strings, and so are part of the image.
    :param config_package: the package of the field `config`.
    """

    config: ImageConfig
    annotations: FrozenDict[str, str]
    packages: tuple[NixPackage, ...]
    config_package: Optional[NixPackage]

    @property
    def ignored(self) -> tuple[NixPackage, ...]:
        """The packages that bring in what they reference, and are kept out themselves."""
        return () if self.config_package is None else (self.config_package,)


async def _named_packages(target: Target) -> tuple[NixPackage, ...]:
    """Returns the packages among the direct dependencies."""
    dependencies = await dependencies_of(DependenciesRequest(target[NixImageDependenciesField]))
    targets = await targets_of(dependencies)
    origin = f"The dependencies of {target.address}"
    return await concurrently(
        evaluate_package(NixPackageRequest(dependency.address, origin), **implicitly())
        for dependency in targets
        if dependency.has_field(NixPackageSourceField)
    )


async def _config_package(target: Target) -> Optional[NixPackage]:
    field = target[NixConfigField]
    if field.value is None:
        return None
    (address,) = await field_addresses(target, field.alias, (field.value,))
    return await evaluate_package(
        NixPackageRequest(address, f"The field `config` of {target.address}"), **implicitly()
    )


@rule(desc="Read fields of image")
async def read_image_fields(request: ImageFieldsRequest) -> ImageFields:
    (target,) = await targets_of(Addresses([request.address]))
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    named = await _named_packages(target)
    config_package = await _config_package(target)
    used: set[NixPackage] = set()
    everything = (*resolved.packages, *named)
    interpolation = Interpolation.create(request.address, everything)
    config, annotations = _typed_config(target, interpolation, used)
    packages = tuple(sorted(used, key=lambda package: package.address.spec))
    return ImageFields(config, annotations, packages, config_package)


def _typed_config(
    target: Target, interpolation: Interpolation, used: set[NixPackage]
) -> tuple[ImageConfig, FrozenDict[str, str]]:
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
            (
                interpolation.literal(field.alias, key),
                interpolation.text(field.alias, value, used),
            )
            for key, value in (field.value or {}).items()
        )

    def literal(field_type: type[StringField]) -> Optional[str]:
        field = target[field_type]
        return None if field.value is None else interpolation.literal(field.alias, field.value)

    def literals(field_type: type[StringSequenceField]) -> tuple[str, ...]:
        field = target[field_type]
        return tuple(interpolation.literal(field.alias, item) for item in field.value or ())

    healthcheck = target[NixHealthcheckField]

    def word(text: str) -> str:
        return interpolation.text(healthcheck.alias, text, used)

    try:
        config = ImageConfig(
            entrypoint=texts(NixEntrypointField),
            cmd=texts(NixCmdField),
            env=tuple(f"{name}={value}" for name, value in pairs(NixEnvField)),
            working_dir=text(NixWorkingDirField),
            user=literal(NixUserField),
            exposed_ports=literals(NixExposedPortsField),
            volumes=literals(NixVolumesField),
            labels=pairs(NixLabelsField),
            stop_signal=literal(NixStopSignalField),
            healthcheck=healthcheck_of(healthcheck.value, word) if healthcheck.value else None,
            architecture=target[NixArchitectureField].value,
            os=target[NixOsField].value,
            variant=target[NixVariantField].value,
            created=literal(NixCreatedField),
            author=literal(NixAuthorField),
        )
    except InvalidInputError as error:
        raise NixImageError(f"{target.address}: {error}") from None
    return config, FrozenDict(pairs(NixAnnotationsField))


def rules():
    return collect_rules()
