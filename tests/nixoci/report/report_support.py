"""Images made of closure graphs, for the tests of what is said of their layers."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Sequence

from hypothesis import strategies as st
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.image import Image, LayerInImage, assemble
from nixoci.layer.layer import Layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.report.diff import ImageDiff, diff_images
from nixoci.report.report import ImageReport, LayerFacts, report_layers
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

from tests.nixoci.store.closure_support import closure_graphs, store_path


@dataclass(frozen=True)
class Built:
    """An image, with all that is known of it after packaging."""

    graph: ClosureGraph
    recipes: tuple[Any, ...]
    image: Image

    @property
    def report(self) -> ImageReport:
        facts = [LayerFacts(i.layer, r) for i, r in zip(self.image.layers, self.recipes)]
        return report_layers("app:image", facts, self.graph, digest=self.image.digest)

    def since(self, old: Built) -> ImageDiff:
        """Returns what a push of this image costs where the old one is."""
        descriptor = Descriptor.from_json(descriptor_json(old.image, old.recipes))
        return diff_images(descriptor, self.image, self.recipes, self.report, self.graph)


def layer_of(recipe: Any, size: int) -> Layer:
    """Returns a layer that is told from others by its recipe."""
    digest = f"sha256:{sha256(recipe.to_json()).hexdigest()}"
    return Layer(digest, size, digest)


def recipe_of(known: ClosureGraph, paths: Sequence[StorePath], **more: Any) -> LayerRecipe:
    return LayerRecipe(tuple(RecipeEntry(p, known[p].nar_hash, p) for p in paths), **more)


def built(known: ClosureGraph, *parts: str, more: Sequence[Any] = ()) -> Built:
    """Returns an image with a layer for each part: names of store paths, split at spaces.

    A layer has as many bytes as the paths in it have, and a tar's 1024 more.

    :param more: recipes of layers above these.
    """
    return built_of(known, [[store_path(name) for name in part.split()] for part in parts], more)


def built_of(
    known: ClosureGraph, parts: Sequence[Sequence[StorePath]], more: Sequence[Any] = ()
) -> Built:
    recipes = (*(recipe_of(known, part) for part in parts), *more)
    layers = [
        layer_of(recipe, 1024 + sum(known[path].nar_size for path in recipe.paths))
        for recipe in recipes
    ]
    config = ImageConfig(os="linux", architecture="amd64")
    return Built(known, recipes, assemble(config, [LayerInImage(layer) for layer in layers]))


@st.composite
def images(draw: Any) -> Built:
    """Images whose layers hold the paths of a closure, in any way; none is empty."""
    known = draw(closure_graphs())
    numbers = {path: draw(st.integers(0, 3)) for path in known}
    parts = [[path for path in known if numbers[path] == number] for number in range(4)]
    return built_of(known, [part for part in parts if part])
