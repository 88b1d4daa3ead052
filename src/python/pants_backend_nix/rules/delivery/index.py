"""Index target → its images and their platforms, and the index of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Union

from nixoci.errors import InvalidInputError
from nixoci.image.config import Platform
from nixoci.image.index.image_index import ImageIndex, index
from nixoci.image.index.platforms import platform_key, platform_name
from nixoci.image.manifest_format import OCI
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import concurrently, implicitly, merge, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.image import (
    BuiltImage,
    ImageConfigRequest,
    ImageRequest,
    build_image,
    configure_image,
)
from pants_backend_nix.rules.assembly.layers import PlannedLayer, PlannedLayers
from pants_backend_nix.rules.delivery.verified import VerifiedImageRequest, verify_image
from pants_backend_nix.targets.addresses import possible_addresses
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.config import NixConfigField, NixManifestFormatField
from pants_backend_nix.targets.index.target import NixIndexAnnotationsField, NixIndexedImagesField
from pants_backend_nix.targets.manifest_format import manifest_format_of

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe


@dataclass(frozen=True)
class IndexedImagesRequest:
    """Asks which images an index has; none is built for that.

    :param address: of a `nix_image_index`.
    """

    address: Address


@dataclass(frozen=True)
class IndexedImages:
    """:param platforms: of each of the images."""

    addresses: tuple[Address, ...]
    platforms: tuple[Platform, ...]


@rule(desc="Look for images of index")
async def find_indexed_images(
    request: IndexedImagesRequest, options: NixImageSubsystem
) -> IndexedImages:
    (target,) = await targets_of(Addresses([request.address]))
    field = target[NixIndexedImagesField]
    origin = f"The field `{field.alias}` of {target.address}"
    addresses = await possible_addresses(target, field.alias, field.value or ())
    if not addresses:
        raise NixImageError(f"{origin} is empty. Name `nix_image` targets, one for each platform.")
    for image in await targets_of(addresses):
        if not image.has_field(NixConfigField):
            raise NixImageError(
                f"{origin} names {image.address}, which is a `{image.alias}`. Name `nix_image` targets."
            )
        if manifest_format_of(image, options) != OCI:
            raise NixImageError(
                f"{origin} names {image.address}, whose manifest is of Docker's format, and an index has OCI "
                f'manifests. Set `{NixManifestFormatField.alias}="oci"` on {image.address}, or leave it out of the '
                "index."
            )
    configured = await concurrently(
        configure_image(ImageConfigRequest(address), **implicitly()) for address in addresses
    )
    found: dict[object, Address] = {}
    for address, one in zip(addresses, configured):
        other = found.setdefault(platform_key(one.platform), address)
        if other != address:
            raise NixImageError(
                f"{origin} names two images for {platform_name(one.platform)}, between which no engine could "
                f"choose: {other} and {address}. Leave one of them out, or give it another platform (fields `system`, "
                "`architecture`, `variant`)."
            )
    return IndexedImages(tuple(addresses), tuple(image.platform for image in configured))


@dataclass(frozen=True)
class IndexRequest:
    """:param address: of a `nix_image_index`.
    :param is_shipped: its images are those that this machine can ship, as of `VerifiedImageRequest`.
    """

    address: Address
    is_shipped: bool = False


@dataclass(frozen=True)
class BuiltIndex:
    """As `BuiltImage`: what is said of all its images together has the same names.

    :param recipes: and layers of `plan`, one for each layer, image after image. What a layer of the plan belongs to
        is a layer target or an image.
    :param images: in the order of the index, with their addresses.
    """

    image: ImageIndex
    recipes: tuple[Recipe, ...]
    packages: tuple[NixPackage, ...]
    kept: Digest
    contents: Digest
    plan: PlannedLayers
    images: tuple[tuple[Address, BuiltImage], ...]

    @property
    def has_store_paths(self) -> bool:
        """Whether making layers again may take Nix."""
        return any(image.has_store_paths for _, image in self.images)


#: What has one digest in a registry.
Built = Union[BuiltImage, BuiltIndex]


def _layers(address: Address, image: BuiltImage) -> tuple[PlannedLayer, ...]:
    layers = image.plan.layers
    return tuple(replace(layer, target=layer.target or address) for layer in layers)


@rule(desc="Assemble index")
async def build_index(request: IndexRequest) -> BuiltIndex:
    address = request.address
    (target,) = await targets_of(Addresses([address]))
    found = await find_indexed_images(IndexedImagesRequest(address), **implicitly())
    if request.is_shipped:
        verified = await concurrently(
            verify_image(VerifiedImageRequest(image), **implicitly()) for image in found.addresses
        )
        built = tuple(one.image for one in verified)
    else:
        built = await concurrently(
            build_image(ImageRequest(image), **implicitly()) for image in found.addresses
        )
    by_digest = {one.image.digest: (image, one) for image, one in zip(found.addresses, built)}
    try:
        made = index([one.image for one in built], target[NixIndexAnnotationsField].value)
    except InvalidInputError as error:
        raise NixImageError(f"{address}: {error}") from None
    images = tuple(by_digest[image.digest] for image in made.images)
    layers = tuple(layer for one in images for layer in _layers(*one))
    packages = dict.fromkeys(package for _, one in images for package in one.packages)
    return BuiltIndex(
        made,
        tuple(recipe for _, one in images for recipe in one.recipes),
        tuple(packages),
        await merge(one.kept for _, one in images),
        await merge(one.contents for _, one in images),
        PlannedLayers(layers, ()),
        images,
    )


def rules():
    return collect_rules()
