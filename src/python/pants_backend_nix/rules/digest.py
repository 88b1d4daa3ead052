"""Layer recipe → layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nixoci.layer import Layer
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import create, implicitly, rule
from pants_backend_nix.rules.evaluate import NixPackage
from pants_backend_nix.rules.step import StoreStep, run_store_step

if TYPE_CHECKING:
    from nixoci.layer import Recipe


@dataclass(frozen=True)
class DigestRequest:
    """:param packages: those that the recipe's paths may come from."""

    recipe: Recipe
    packages: tuple[NixPackage, ...]


@rule(desc="Digest layer")
async def digest_recipe(request: DigestRequest) -> Layer:
    recipe = request.recipe
    step = await run_store_step(
        StoreStep(
            ("digest", "recipe.json", "--output=layer.json"),
            f"Digest layer of {recipe.summary}",
            request.packages,
            await create([FileContent("recipe.json", recipe.to_json())]),
            output="layer.json",
        ),
        **implicitly(),
    )
    return Layer.from_json(step.output)


def rules():
    return collect_rules()
