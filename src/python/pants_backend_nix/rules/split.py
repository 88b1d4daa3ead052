"""Contents of a layer → layer recipes."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.contents import Contents, recipes
from nixoci.recipe import LayerRecipe, Owner, Permission
from nixoci.store_path import StorePath
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import rule


@dataclass(frozen=True)
class SplitRequest:
    contents: Contents
    max_layers: int
    permissions: tuple[Permission, ...]
    dialect: str
    owner: Owner
    apart: tuple[StorePath, ...]


@dataclass(frozen=True)
class LayerRecipes:
    """:param recipes: bottom first."""

    recipes: tuple[LayerRecipe, ...]


@rule(desc="Split into layers")
async def split_contents(request: SplitRequest) -> LayerRecipes:
    return LayerRecipes(
        recipes(
            request.contents,
            max_layers=request.max_layers,
            permissions=request.permissions,
            dialect=request.dialect,
            owner=request.owner,
            apart=request.apart,
        )
    )


def rules():
    return collect_rules()
