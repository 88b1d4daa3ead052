"""Layer recipe → layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from nixoci.compression.formats import Compression
from nixoci.layer.kept import kept_name
from nixoci.layer.layer import Layer
from nixoci.recipe.layer import LayerRecipe
from pants.engine.fs import EMPTY_DIGEST, Digest, FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    create,
    implicitly,
    rule,
)
from pants_backend_nix.rules.core.contents import contents_arguments
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.flow.compress import compression_arguments
from pants_backend_nix.targets.evaluated import NixPackage

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe


@dataclass(frozen=True)
class DigestRequest:
    """:param packages: those that the recipe's paths may come from.
    :param contents: as in `PlannedLayer`.
    :param keep: the bytes of the layer besides its digest. Such a layer is digested uncompressed.
    :param compression: None for layers that are not compressed.
    :param environment: in which it is done.
    """

    recipe: Recipe
    packages: tuple[NixPackage, ...]
    contents: Digest = EMPTY_DIGEST
    keep: bool = False
    compression: Optional[Compression] = None
    environment: EnvironmentNameRequest = THIS_MACHINE


@dataclass(frozen=True)
class DigestedLayer:
    """:param layer: None if the store of this machine has other contents than the recipe says.
    :param different: what the core says of that.
    :param kept: a tree with the file that keeps the layer, named as `nixoci.layer.kept` does; empty
        if it is not kept.
    """

    layer: Optional[Layer]
    different: str = ""
    kept: Digest = EMPTY_DIGEST


@rule(desc="Digest layer")
async def digest_recipe(request: DigestRequest) -> DigestedLayer:
    recipe = request.recipe
    keep = None
    compression = request.compression
    if request.keep and isinstance(recipe, LayerRecipe):
        keep = kept_name(recipe)
        compression = None
    step = await run_store_step(
        StoreStep(
            CoreRun(
                (
                    "digest",
                    "recipe.json",
                    "--output=layer.json",
                    *(() if keep is None else (f"--keep={keep}",)),
                    *(() if compression is None else compression_arguments(compression)),
                    *contents_arguments(request.contents),
                ),
                f"Digest layer of {recipe.summary}",
                await create([FileContent("recipe.json", recipe.to_json())]),
                contents=request.contents,
                output="layer.json",
                kept=keep,
                needs_packages=compression is not None,
                environment=request.environment,
                # Nix databases and files are no store paths.
                needs_nix=isinstance(recipe, LayerRecipe),
            ),
            request.packages,
            expected_errors=("ContentsDifferError",),
        ),
        **implicitly(),
    )
    if step.error:
        return DigestedLayer(None, step.error)
    return DigestedLayer(Layer.from_json(step.output), kept=step.kept)


def rules():
    return collect_rules()
