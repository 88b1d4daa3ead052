"""Layers and config → image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterable, Mapping, Optional, Sequence

from nixoci.base.image import BaseImage
from nixoci.base.index import platform_text
from nixoci.base.inherit import inherit, only_platform, platform_difference
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig, Platform
from nixoci.image.config import merge as merge_config
from nixoci.image.image import History, Image, LayerInImage, assemble
from nixoci.image.index.platforms import parse_platform
from nixoci.image.store_path_annotation import store_path_annotation
from nixoci.layering.split import MAX_LAYERS
from nixoci.recipe.layer import LayerRecipe
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest
from pants.engine.rules import collect_rules
from pants.engine.target import Target

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    concurrently,
    implicitly,
    merge,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.assembly.digested import DigestedLayersRequest, digest_layers
from pants_backend_nix.rules.assembly.image_fields import (
    ImageFields,
    ImageFieldsRequest,
    read_image_fields,
)
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargets,
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.assembly.layers import PlannedLayer, PlannedLayers
from pants_backend_nix.rules.assembly.libraries import (
    RequiredLibrariesRequest,
    require_libraries,
)
from pants_backend_nix.rules.assembly.platform import common_system, image_platform
from pants_backend_nix.rules.base.found import BaseImageRequest, FoundBase, find_base
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.targets.base.base_image import BasePlatformField
from pants_backend_nix.targets.base.fields import NixBaseField, NixInheritConfigField
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.config import (
    NixArchitectureField,
    NixOsField,
    NixVariantField,
)
from pants_backend_nix.targets.fields.database import NixDatabaseField
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
    :param base: the image that is below all layers.
    """

    config: ImageConfig
    annotations: Mapping[str, str]
    packages: tuple[NixPackage, ...]
    base: Optional[FoundBase] = None

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

    def on_top_of(self, base: BaseImage, files: Digest, contents: Digest) -> BuiltImage:
        """Returns the image with the layers of its base among those that are told of.

        :param files: that have layers of the base.
        :param contents: all contents of files, those among them.
        """
        planned = tuple(
            PlannedLayer(recipe, item.history, (), files)
            for recipe, item in zip(base.recipes, base.layers)
        )
        return replace(
            self,
            contents=contents,
            recipes=(*base.recipes, *self.recipes),
            plan=replace(self.plan, layers=(*planned, *self.plan.layers)),
        )

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


async def _own_config(target: Target, fields: ImageFields) -> ImageConfig:
    """Returns what the file of the field `config` and the other fields of an image say."""
    return merge_config(await _read_config(target, fields.config_package), fields.config)


async def _find_base(
    target: Target, resolved: LayerTargets, config: ImageConfig
) -> Optional[FoundBase]:
    """Returns the image that is below all layers.

    :param config: without what is inherited from it.
    :raises NixImageError: it is for another machine, or has a Nix database beside that of this image.
    """
    if resolved.base is None:
        return None
    platform = platform_text(config.platform())
    found = await find_base(BaseImageRequest(resolved.base, platform), **implicitly())
    difference = platform_difference(found.image.config, config)
    if difference is not None:
        raise NixImageError(
            f"{target.address}: its base {resolved.base} ({found.name}) is for the {difference}. Choose another "
            f"one by the field `{BasePlatformField.alias}` of {resolved.base}, or set `{NixArchitectureField.alias}`, "
            f"`{NixOsField.alias}` or `{NixVariantField.alias}` here."
        )
    if found.has_nix_database and any(one[NixDatabaseField].value for one in resolved.images):
        raise NixImageError(
            f"{target.address}: with `{NixDatabaseField.alias}`, its Nix database would replace that of its base "
            f"{resolved.base} ({found.name}), and lack the store paths that are registered there. Take a base "
            f"without Nix, name the `nix_image` that it was made from in `{NixBaseField.alias}`, or set "
            f"`{NixDatabaseField.alias}=False`."
        )
    return found


async def _platform_of_base(
    target: Target, resolved: LayerTargets, packages: Iterable[NixPackage], config: ImageConfig
) -> ImageConfig:
    """Returns the platform of the base, where it says one and nothing else does."""
    if (
        resolved.base is None
        or config.architecture is not None
        or common_system(target, packages) is not None
    ):
        return ImageConfig()
    (base,) = await targets_of(Addresses([resolved.base]))
    text = base[BasePlatformField].value
    if text is None:
        return ImageConfig()
    platform = parse_platform(text)
    return ImageConfig(architecture=platform.architecture, os=platform.os, variant=platform.variant)


@rule(desc="Configure image")
async def configure_image(request: ImageConfigRequest, nix: NixSubsystem) -> ConfiguredImage:
    (target,) = await targets_of(Addresses([request.address]))
    resolved = await resolve_layer_targets(LayerTargetsRequest(target.address), **implicitly())
    images = resolved.images
    read = await concurrently(
        read_image_fields(ImageFieldsRequest(image.address), **implicitly()) for image in images
    )
    configs = await concurrently(_own_config(image, one) for image, one in zip(images, read))
    fields = read[-1]
    packages = (
        *resolved.packages,
        *(package for one in read for package in (*one.packages, *one.ignored)),
    )
    config = _inherited(ImageConfig(), images, configs)
    config = merge_config(await _platform_of_base(target, resolved, packages, config), config)
    platform = image_platform(target, packages, config, fields.config, nix.default_system)
    config = merge_config(platform, config)
    base = await _find_base(target, resolved, config)
    if base is not None:
        inherited = _inherited(base.image.config, images, configs)
        config = merge_config(only_platform(config), inherited)
    return ConfiguredImage(config, fields.annotations, packages, base)


@rule(desc="Assemble image")
async def build_image(request: ImageRequest, options: NixImageSubsystem) -> BuiltImage:
    (target,) = await targets_of(Addresses([request.address]))
    address = target.address
    manifest_format = manifest_format_of(target, options)
    annotates = options.annotate_layers and manifest_format.has_annotations
    configured = await configure_image(ImageConfigRequest(address), **implicitly())
    config, packages = configured.config, configured.packages
    base = None if configured.base is None else configured.base.image
    digested = await digest_layers(DigestedLayersRequest(address, request.view), **implicitly())
    copied = 0 if base is None else len(base.layers)
    if copied + len(digested.layers) > MAX_LAYERS:
        of_base = f", {copied} of them those of its base" if copied else ""
        raise NixImageError(
            f"{address} would have {copied + len(digested.layers)} layers{of_base}; container engines take at "
            f"most {MAX_LAYERS}. Lower `max_layers` of the image or of its layers."
        )
    if base is None:
        # What files find in a base is not known.
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
    layers = [
        LayerInImage(layer, history, store_path_annotation(recipe) if annotates else ())
        for layer, history, recipe in zip(
            digested.layers, digested.histories, digested.recipes
        )
    ]
    after: tuple[History, ...] = ()
    if base is not None:
        layers, after = base.below(layers, annotated=manifest_format.has_annotations)
    try:
        image = assemble(config, layers, configured.annotations, manifest_format, after)
    except InvalidInputError as error:
        raise NixImageError(f"{address}: {error}") from None
    built = BuiltImage(
        image,
        digested.recipes,
        tuple(dict.fromkeys(packages)),
        digested.kept,
        digested.contents,
        digested.plan,
    )
    if configured.base is None:
        return built
    files = configured.base.contents
    contents = await merge((digested.contents, files))
    return built.on_top_of(configured.base.image, files, contents)


def _inherited(
    base: ImageConfig, images: Sequence[Target], configs: Sequence[ImageConfig]
) -> ImageConfig:
    """Returns the config of images on top of one another.

    :param configs: what each image says by itself.
    """
    for image, own in zip(images, configs):
        if image[NixInheritConfigField].value:
            base = inherit(base, own)
        else:
            base = merge_config(only_platform(base), own)
    return base


def rules():
    return collect_rules()
