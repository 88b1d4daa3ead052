"""Target with layers → whether all that its fields say does something."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Sequence

from nixoci.layering.contents import idle_ignored
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.files import FilesRecipe
from nixoci.recipe.layer import ROOT, LayerRecipe, Permission, RecipeEntry
from nixoci.store.closure import ClosureGraph
from pants.engine.addresses import Address
from pants.engine.rules import collect_rules
from pants.engine.target import Dependencies, Target
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    concurrently,
    implicitly,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.assembly.layers import PlannedLayer, permissions_of
from pants_backend_nix.rules.assembly.stack import Floor, StackRequest, stack_contents, store_paths
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.rules.flow.permissions import IdlePermissionsRequest, find_idle_permissions
from pants_backend_nix.targets.addresses import possible_addresses
from pants_backend_nix.targets.dependencies import (
    InferLayerDependencies,
    LayerDependenciesFieldSet,
    infer_layer_dependencies,
)
from pants_backend_nix.targets.fields.closures import NixIgnoreField
from pants_backend_nix.targets.fields.excludes import NixExcludesField
from pants_backend_nix.targets.fields.permissions import PermissionsField

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PermissionsRequest:
    """Asks whether permissions change something.

    :param address: of a target with layers.
    :param layers: all that it has, bottom first.
    """

    address: Address
    layers: tuple[PlannedLayer, ...]
    view: StoreView


@dataclass(frozen=True)
class EffectivePermissions:
    """Says that they do."""


def _recipe(
    floor: Floor, permissions: tuple[Permission, ...], options: NixImageSubsystem
) -> LayerRecipe:
    """Returns all that a layer target holds as one layer."""
    contents = floor.contents
    return LayerRecipe(
        (
            *(RecipeEntry(i.path, i.nar_hash, i.path) for i in contents.graph.values()),
            *(RecipeEntry(info.path, info.nar_hash, ROOT) for info in contents.copied),
        ),
        permissions,
        dialect=options.tar_dialect.value,
        excludes=floor.target[NixExcludesField].value or (),
    )


async def _idle(
    floor: Floor,
    permissions: tuple[Permission, ...],
    view: StoreView,
    options: NixImageSubsystem,
) -> tuple[Permission, ...]:
    environment = view.place(EnvironmentNameRequest.from_target(floor.target))
    found = await find_idle_permissions(
        IdlePermissionsRequest(
            _recipe(floor, permissions, options), tuple(floor.packages), environment
        ),
        **implicitly(),
    )
    return found.permissions


async def _explain(
    floor: Floor,
    permission: Permission,
    others: Sequence[Floor],
    request: PermissionsRequest,
    options: NixImageSubsystem,
) -> str:
    """Returns what is wrong with a permission, and the way out."""
    where = f"The field `{PermissionsField.alias}` of {floor.target.address}"
    said = f"{where} has an entry for {permission.path!r}, which changes nothing"
    files = [
        entry.path
        for layer in request.layers
        if isinstance(layer.recipe, FilesRecipe)
        for entry in layer.recipe.entries
        if permission.matches(entry.path)
    ]
    if files:
        return (
            f"{said}: {files[0]} is no file of a package. Give it mode and owner where it comes from, in the "
            "entry of `contents` or in `directories`."
        )
    for other in others:
        if not await _idle(other, (permission,), request.view, options):
            return (
                f"{said}: what it matches is in the layers of {other.target.address}. Move the entry to the field "
                f"`{PermissionsField.alias}` there."
            )
    return (
        f"{said}: nothing that the target itself brings has such a path (symbolic links have no modes, and only "
        "regular files have capabilities). Correct the expression, or take the entry out. It must match a whole "
        'path in the image, such as "/etc/shadow" or "{name}/bin/.*".'
    )


@rule(desc="Check permissions")
async def require_effective_permissions(
    request: PermissionsRequest, options: NixImageSubsystem
) -> EffectivePermissions:
    stack = await stack_contents(StackRequest(request.address, request.view), **implicitly())
    effective = {
        permission
        for layer in request.layers
        if isinstance(layer.recipe, DatabaseRecipe)
        for permission in layer.recipe.permissions
    }
    for floor in stack.floors:
        permissions = permissions_of(floor.target, floor.packages)
        if not permissions:
            continue
        for permission in await _idle(floor, permissions, request.view, options):
            if permission not in effective:
                others = [other for other in stack.floors if other is not floor]
                raise NixImageError(
                    await _explain(floor, permission, others, request, options)
                )
    return EffectivePermissions()


@dataclass(frozen=True)
class EffectsRequest:
    """Asks to warn of what the fields of a target say in vain.

    :param address: of a target with layers.
    """

    address: Address


@dataclass(frozen=True)
class Effects:
    """:param idle: what has no effect, for people."""

    idle: tuple[str, ...]


def _idle_ignored(floor: Floor, below: ClosureGraph) -> list[str]:
    """Returns what is to be said of the field `ignore`."""
    field = NixIgnoreField.alias
    named = [package for package in floor.packages if package in floor.ignored]
    held = [package for package in named if any(path in below for path in package.paths)]
    graph = ClosureGraph().union(*floor.packages.values())
    kept = store_paths(package for package in floor.packages if package not in named)
    idle = set(idle_ignored(graph, kept, store_paths(named)))
    return [
        f"`{field}` names {package.address}, which a layer below holds, so that it stays in the image. Name it "
        f"in the field `{field}` of that layer."
        for package in held
    ] + [
        f"`{field}` names {package.address}, which nothing here references, and which references nothing else "
        "than is here anyway. Take it out."
        for package in named
        if package not in held and idle.issuperset(package.paths)
    ]


async def _idle_dependencies(target: Target, used: frozenset[Address]) -> list[str]:
    """Returns what is to be said of the field `dependencies`.

    :param used: packages in the image.
    """
    field = target[Dependencies]
    values = [value for value in field.value or () if not value.startswith("!")]
    if not values:
        return []
    named = await infer_layer_dependencies(
        InferLayerDependencies(LayerDependenciesFieldSet.create(target)), **implicitly()
    )
    addresses = await possible_addresses(target, field.alias, values)
    return [
        f"`{field.alias}` names {address}, of which nothing gets into the image. Name a package in `packages` "
        "or in a string such as an entry of `entrypoint`, and other targets in `contents`; or take it out."
        for address in addresses
        if address not in used and address not in named.include
    ]


@rule(desc="Look for fields without effect")
async def find_effects(request: EffectsRequest) -> Effects:
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    stack = await stack_contents(StackRequest(request.address), **implicitly())
    used = frozenset(
        package.address for floor in stack.floors for package in floor.packages
    )
    dependencies = await concurrently(
        _idle_dependencies(layer.target, used) for layer in resolved.targets
    )
    held: dict[Address, ClosureGraph] = {}
    idle = []
    for floor, layer, said in zip(stack.floors, resolved.targets, dependencies):
        below = ClosureGraph().union(*(held[address] for address in layer.below))
        held[floor.target.address] = floor.contents.graph
        idle += [f"{floor.target.address}: {text}" for text in (*_idle_ignored(floor, below), *said)]
    if idle:
        logger.warning(f"These have no effect:\n\n{bullet_list(idle)}")
    return Effects(tuple(idle))


def rules():
    return collect_rules()
