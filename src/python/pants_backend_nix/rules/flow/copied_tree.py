"""Layer recipe → what it copies to the root of the image."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layer.copied_tree import tree_from_json
from nixoci.recipe.layer import ROOT, LayerRecipe
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import EnvironmentNameRequest, create, implicitly, rule
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.targets.evaluated import NixPackage


@dataclass(frozen=True)
class CopiedTreeRequest:
    """:param packages: those that the recipe's paths may come from.
    :param environment: in which the store is read.
    """

    recipe: LayerRecipe
    packages: tuple[NixPackage, ...]
    environment: EnvironmentNameRequest


@dataclass(frozen=True)
class CopiedTree:
    """:param paths: in the image, absolute; whether each is a directory."""

    paths: FrozenDict[str, bool]


@rule(desc="List what is copied to the root")
async def list_copied_tree(request: CopiedTreeRequest) -> CopiedTree:
    copied = tuple(e for e in request.recipe.entries if e.destination == ROOT)
    if not copied:
        return CopiedTree(FrozenDict())
    # Nothing else of the recipe is in the key.
    recipe = LayerRecipe(copied, excludes=request.recipe.excludes)
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("copied-tree", "recipe.json", "--output=tree.json"),
                f"List {recipe.summary}",
                await create([FileContent("recipe.json", recipe.to_json())]),
                output="tree.json",
                environment=request.environment,
            ),
            request.packages,
        ),
        **implicitly(),
    )
    return CopiedTree(FrozenDict(tree_from_json(step.output)))


def rules():
    return collect_rules()
