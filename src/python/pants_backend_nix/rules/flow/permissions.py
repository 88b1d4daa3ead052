"""Layer recipe → those of its permissions that change nothing."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.json_input import get_list, parse_object
from nixoci.recipe.layer import LayerRecipe, Permission
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import EnvironmentNameRequest, create, implicitly, rule
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.targets.evaluated import NixPackage


@dataclass(frozen=True)
class IdlePermissionsRequest:
    """:param packages: those that the recipe's paths may come from.
    :param environment: in which the store is read.
    """

    recipe: LayerRecipe
    packages: tuple[NixPackage, ...]
    environment: EnvironmentNameRequest


@dataclass(frozen=True)
class IdlePermissions:
    """:param permissions: in the order of the recipe."""

    permissions: tuple[Permission, ...]


@rule(desc="Look for what permissions change")
async def find_idle_permissions(request: IdlePermissionsRequest) -> IdlePermissions:
    whole = request.recipe
    entries = tuple(
        entry
        for entry in whole.entries
        if any(permission.may_match(entry.destination) for permission in whole.permissions)
    )
    if not entries:
        return IdlePermissions(whole.permissions)
    # Neither owner nor other paths are in the key.
    recipe = LayerRecipe(
        entries, whole.permissions, dialect=whole.dialect, excludes=whole.excludes
    )
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("idle-permissions", "recipe.json", "--output=idle.json"),
                f"Look for what permissions change in {recipe.summary}",
                await create([FileContent("recipe.json", recipe.to_json())]),
                output="idle.json",
                environment=request.environment,
            ),
            request.packages,
        ),
        **implicitly(),
    )
    positions = get_list(parse_object("idle permissions", step.output), "positions", int)
    return IdlePermissions(tuple(recipe.permissions[position] for position in positions))


def rules():
    return collect_rules()
