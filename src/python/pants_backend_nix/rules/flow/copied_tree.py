"""Layer recipe → what it copies to the root of the image: places, and what is at some of them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from nixoci.layer.copied_tree import things_from_json, tree_from_json
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


@dataclass(frozen=True)
class CopiedThingsRequest:
    """:param copied: the recipe, and what reading its store paths takes.
    :param paths: of files and links that it copies.
    """

    copied: CopiedTreeRequest
    paths: tuple[str, ...]


@dataclass(frozen=True)
class CopiedThings:
    """:param things: mode and contents by path, see `nixoci.layer.copied_tree.things_of_tree`."""

    things: FrozenDict[str, tuple[int, str]]


def _what_is_copied(recipe: LayerRecipe) -> LayerRecipe:
    """Returns a recipe of that alone: nothing else is in the key of a process."""
    copied = tuple(entry for entry in recipe.entries if entry.destination == ROOT)
    return LayerRecipe(copied, dialect=recipe.dialect, excludes=recipe.excludes)


@rule(desc="List what is copied to the root")
async def list_copied_tree(request: CopiedTreeRequest) -> CopiedTree:
    recipe = _what_is_copied(request.recipe)
    if not recipe.entries:
        return CopiedTree(FrozenDict())
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


@rule(desc="Look at what is copied to the root")
async def look_at_copied_things(request: CopiedThingsRequest) -> CopiedThings:
    recipe = _what_is_copied(request.copied.recipe)
    paths = json.dumps({"paths": request.paths}).encode()
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("copied-tree", "recipe.json", "--things=paths.json", "--output=things.json"),
                f"Look at {recipe.summary}",
                await create(
                    [
                        FileContent("recipe.json", recipe.to_json()),
                        FileContent("paths.json", paths),
                    ]
                ),
                output="things.json",
                environment=request.copied.environment,
            ),
            request.copied.packages,
        ),
        **implicitly(),
    )
    return CopiedThings(FrozenDict(things_from_json(step.output)))


def rules():
    return collect_rules()
