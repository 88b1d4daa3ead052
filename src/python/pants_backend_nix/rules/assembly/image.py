"""Layers and config → image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig, Platform
from nixoci.image.config import merge as merge_config
from nixoci.image.image import Image, LayerInImage, assemble
from nixoci.image.store_path_annotation import store_path_annotation
from nixoci.layering.split import MAX_LAYERS
from nixoci.recipe.layer import LayerRecipe
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest
from pants.engine.rules import collect_rules
from pants.engine.target import Target

from pants_backend_nix.engine import EnvironmentNameRequest, implicitly, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.assembly.digested import DigestedLayersRequest, digest_layers
from pants_backend_nix.rules.assembly.image_fields import ImageFieldsRequest, read_image_fields
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.assembly.layers import PlannedLayers
from pants_backend_nix.rules.assembly.libraries import (
    RequiredLibrariesRequest,
    require_libraries,
)
from pants_backend_nix.rules.assembly.platform import image_platform
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.manifest_format import manifest_format_of

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe


@dataclass(frozen=True)
class ImageConfigRequest:
    """Asks for the config of an image, of which no layer is made for that.

    :param address: of a `nix_image`.
    """

    address: Address


@dataclass(frozen=True)
class ConfiguredImage:
    """:param config: with the platform, and without what is computed from layers.
    :param annotations: of the manifest.
    :param packages: all that the image's paths may come from.
    """

    config: ImageConfig
    annotations: Mapping[str, str]
    packages: tuple[NixPackage, ...]

    @property
    def platform(self) -> Platform:
        """That of the image."""
        config = self.config
        return Platform(
            config.os or "", config.architecture or "", config.variant, config.os_version
        )


@dataclass(frozen=True)
class ImageRequest:
    """:param address: of a `nix_image`."""

    address: Address
    view: StoreView = StoreView()


@dataclass(frozen=True)
class BuiltImage:
    """:param recipes: one for each layer of the image, bottom first.
    :param packages: all that the image's paths may come from.
    :param kept: and `contents`, `plan`, as in `DigestedLayers`.
    """

    image: Image
    recipes: tuple[Recipe, ...]
    packages: tuple[NixPackage, ...]
    kept: Digest
    contents: Digest
    plan: PlannedLayers

    @property
    def has_store_paths(self) -> bool:
        """Whether making its layers again may take Nix."""
        return any(isinstance(recipe, LayerRecipe) for recipe in self.recipes)


async def _read_config(target: Target, package: Optional[NixPackage]) -> ImageConfig:
    if package is None:
        return ImageConfig()
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("read-file", "--output=config.json", package.path()),
                f"Read the image config of {package.address}",
                output="config.json",
                environment=EnvironmentNameRequest.from_target(target),
            ),
            (package,),
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


@rule(desc="Configure image")
async def configure_image(request: ImageConfigRequest, nix: NixSubsystem) -> ConfiguredImage:
    (target,) = await targets_of(Addresses([request.address]))
    address = target.address
    fields = await read_image_fields(ImageFieldsRequest(address), **implicitly())
    config = merge_config(await _read_config(target, fields.config_package), fields.config)
    resolved = await resolve_layer_targets(LayerTargetsRequest(address), **implicitly())
    packages = (*resolved.packages, *fields.packages, *fields.ignored)
    platform = image_platform(target, packages, config, fields.config, nix.default_system)
    return ConfiguredImage(merge_config(platform, config), fields.annotations, packages)


@rule(desc="Assemble image")
async def build_image(request: ImageRequest, options: NixImageSubsystem) -> BuiltImage:
    (target,) = await targets_of(Addresses([request.address]))
    address = target.address
    manifest_format = manifest_format_of(target, options)
    annotates = options.annotate_layers and manifest_format.has_annotations
    configured = await configure_image(ImageConfigRequest(address), **implicitly())
    config, packages = configured.config, configured.packages
    digested = await digest_layers(DigestedLayersRequest(address, request.view), **implicitly())
    if len(digested.layers) > MAX_LAYERS:
        raise NixImageError(
            f"{address} would have {len(digested.layers)} layers; container engines take at most "
            f"{MAX_LAYERS}. Lower `max_layers` of the image or of its layers."
        )
    await require_libraries(
        RequiredLibrariesRequest(
            address,
            digested.plan,
            tuple(dict.fromkeys(packages)),
            tuple((config.entrypoint or config.cmd or ())[:1]),
            dict(value.partition("=")[::2] for value in config.env).get("LD_LIBRARY_PATH", ""),
            request.view,
        ),
        **implicitly(),
    )
    try:
        image = assemble(
            config,
            [
                LayerInImage(
                    layer,
                    history,
                    store_path_annotation(recipe) if annotates else (),
                )
                for layer, history, recipe in zip(
                    digested.layers, digested.histories, digested.recipes
                )
            ],
            configured.annotations,
            manifest_format,
        )
    except InvalidInputError as error:
        raise NixImageError(f"{address}: {error}") from None
    return BuiltImage(
        image,
        digested.recipes,
        tuple(dict.fromkeys(packages)),
        digested.kept,
        digested.contents,
        digested.plan,
    )


def rules():
    return collect_rules()
