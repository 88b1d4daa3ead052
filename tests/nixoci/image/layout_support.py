"""What the tests of the writers share: small images whose layers are known bytes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence

from nixoci.image.config import ImageConfig
from nixoci.image.image import History, Image, LayerInImage, assemble
from nixoci.image.index.image_index import ImageIndex, index
from nixoci.image.index.platforms import parse_platform
from nixoci.image.manifest_format import OCI, ManifestFormat
from nixoci.layer.layer import Layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.path import StorePath

CHUNK_SIZE = 1 << 16


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class KnownImage:
    """An image, its recipes, and what streams its layers.

    :param written: the digests of the layers that were streamed, in order.
    """

    image: Image
    recipes: tuple[LayerRecipe, ...]
    write_layer: Callable[[LayerRecipe, Layer, Callable[[memoryview], object]], None]
    written: list[str]


def known_image(*contents: bytes, format: ManifestFormat = OCI) -> KnownImage:
    """Returns an image with a layer for each of `contents`.

    :param format: of its manifest.
    """
    content_of: dict[LayerRecipe, bytes] = {}
    layers = []
    for number, content in enumerate(contents):
        path = StorePath.parse(f"/nix/store/{'0' * 32}-layer{number}")
        recipe = LayerRecipe((RecipeEntry(path, "sha256-test", path),))
        content_of[recipe] = content
        layer = Layer(sha256(content), len(content), sha256(content))
        layers.append(LayerInImage(layer, History(created_by=f"layer {number}")))
    written: list[str] = []

    def write_layer(
        recipe: LayerRecipe, layer: Layer, write: Callable[[memoryview], object]
    ) -> None:
        written.append(layer.digest)
        content = memoryview(content_of[recipe])
        for start in range(0, len(content), CHUNK_SIZE):
            write(content[start : start + CHUNK_SIZE])

    config = ImageConfig(architecture="amd64", cmd=("/bin/true",))
    image = assemble(config, layers, format=format)
    return KnownImage(image, tuple(content_of), write_layer, written)


@dataclass(frozen=True)
class KnownIndex:
    """As `KnownImage`, of an index.

    :param recipes: of the layers of all images.
    """

    image: ImageIndex
    recipes: tuple[LayerRecipe, ...]
    write_layer: Callable[[LayerRecipe, Layer, Callable[[memoryview], object]], None]
    written: list[str]


def known_index(
    images: Mapping[str, Sequence[bytes]], annotations: Optional[Mapping[str, str]] = None
) -> KnownIndex:
    """Returns an index of images.

    :param images: the contents of the layers, by platform (`linux/arm64`); the same contents are the same layer.
    """
    contents = {sha256(content): content for layers in images.values() for content in layers}
    written: list[str] = []

    def write_layer(
        recipe: LayerRecipe, layer: Layer, write: Callable[[memoryview], object]
    ) -> None:
        assert recipe == _recipe_of(layer.digest)
        written.append(layer.digest)
        write(memoryview(contents[layer.digest]))

    made = []
    for name, layers in images.items():
        found = parse_platform(name)
        config = ImageConfig(architecture=found.architecture, os=found.os, variant=found.variant)
        blobs = [Layer(sha256(content), len(content), sha256(content)) for content in layers]
        made.append(assemble(config, [LayerInImage(blob) for blob in blobs]))
    found_index = index(made, annotations)
    recipes = tuple(_recipe_of(item.layer.digest) for item in found_index.layers)
    return KnownIndex(found_index, recipes, write_layer, written)


def _recipe_of(digest: str) -> LayerRecipe:
    path = StorePath.parse(f"/nix/store/{'0' * 32}-{digest[7:27]}")
    return LayerRecipe((RecipeEntry(path, "sha256-test", path),))


def tree(path: Path) -> dict[str, bytes]:
    """Returns the contents of all files at or below `path`, by relative path, hidden ones too."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {
        os.path.relpath(os.path.join(directory, name), path): Path(directory, name).read_bytes()
        for directory, _, names in os.walk(path)
        for name in names
    }
