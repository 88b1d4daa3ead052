"""Layer that is kept → the same layer, compressed as an image wants it.

All other layers are compressed by the step that digests them. A kept one is what all machines that
share a cache ship, so its blob is made of the tar in the cache and not of anybody's store.
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.compression.formats import Compression
from nixoci.layer.layer import Layer
from nixoci.recipe.layer import LayerRecipe
from pants.engine.fs import Digest, FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import create, implicitly, merge, prefix, rule
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step

_KEPT = "kept"


@dataclass(frozen=True)
class CompressKeptRequest:
    """:param kept: as in `DigestedLayer`."""

    recipe: LayerRecipe
    kept: Digest
    compression: Compression


@dataclass(frozen=True)
class CompressedKeptLayer:
    layer: Layer


def compression_arguments(compression: Compression) -> tuple[str, ...]:
    """Returns the arguments of `nixoci digest`, the same on every machine."""
    return (
        f"--compression={compression.format}",
        f"--compression-level={compression.level}",
        f"--compressor={compression.compressor}",
    )


@rule(desc="Compress kept layer")
async def compress_kept(request: CompressKeptRequest) -> CompressedKeptLayer:
    recipe = await create([FileContent("recipe.json", request.recipe.to_json())])
    step = await run_store_step(
        StoreStep(
            CoreRun(
                (
                    "digest",
                    "recipe.json",
                    "--output=layer.json",
                    f"--kept-layers={_KEPT}",
                    *compression_arguments(request.compression),
                ),
                f"Compress layer of {request.recipe.summary}",
                await merge((recipe, await prefix(request.kept, _KEPT))),
                output="layer.json",
                needs_packages=True,
            ),
            (),
        ),
        **implicitly(),
    )
    return CompressedKeptLayer(Layer.from_json(step.output))


def rules():
    return collect_rules()
