"""Layers with store paths → the layers of files above them, and what both have in common.

What layers put outside of `/nix/store` is one tree in the image: a place has one thing, and a directory one mode
and owner, whichever layers bring it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Mapping, Optional, Sequence

from nixoci.layering.collisions import (
    UNKNOWN,
    FileCollisionError,
    Occupant,
    Thing,
    copied_thing,
    require_no_collision,
    shared_places,
)
from nixoci.layering.directories import DirectoriesBelow, directories_below
from nixoci.layering.files import layers_of_files
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.files import FilesRecipe
from nixoci.recipe.layer import LayerRecipe
from nixoci.tar.database import database_places
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest, FileDigest, FileEntry
from pants.engine.rules import collect_rules
from pants.engine.target import Target

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    concurrently,
    create,
    implicitly,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.file_layers import (
    FileLayer,
    FileLayersRequest,
    plan_file_layers,
)
from pants_backend_nix.rules.assembly.file_system import shadows_of
from pants_backend_nix.rules.assembly.layers import PlannedLayer, PlannedLayers, layer_history
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.rules.flow.copied_tree import (
    CopiedThings,
    CopiedThingsRequest,
    CopiedTreeRequest,
    list_copied_tree,
    look_at_copied_things,
)
from pants_backend_nix.targets.fields.file_system import NixShadowsField

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RootRequest:
    """Asks for the layers of files of a target and of all targets below it.

    :param plan: its layers with store paths.
    :param database: the Nix database of the image, which lies above those.
    """

    address: Address
    plan: PlannedLayers
    database: Optional[DatabaseRecipe]
    view: StoreView


@dataclass(frozen=True)
class Root:
    """:param files: layers, bottom first.
    :param database: the one that was given, with what other layers say of its directories.
    """

    files: tuple[PlannedLayer, ...]
    database: Optional[DatabaseRecipe]


@dataclass(frozen=True)
class _Copying:
    """A layer with store paths.

    :param tree: what it copies to the root, by absolute path, whether it is a directory.
    :param rank: see `Occupant`.
    """

    layer: PlannedLayer
    recipe: LayerRecipe
    tree: Mapping[str, bool]
    target: Target
    rank: int

    def copied(self, view: StoreView) -> CopiedTreeRequest:
        return CopiedTreeRequest(
            self.recipe, self.layer.packages, view.place(self.layer.environment)
        )

    def occupant(self, things: Mapping[str, Thing]) -> Occupant:
        """:param things: those that are compared with others."""
        places = {
            path: None if is_directory else things.get(path, UNKNOWN)
            for path, is_directory in self.tree.items()
        }
        origin = f"the field `copy_to_root` of {self.target.address}"
        return Occupant(origin, places, self.rank, shadows_of(self.target))


async def _copying(plan: PlannedLayers, view: StoreView, look: bool) -> tuple[_Copying, ...]:
    """Returns the layers with store paths.

    :param look: at what they copy to the root.
    """
    addresses = tuple(dict.fromkeys(layer.target for layer in plan.layers if layer.target))
    targets = {one.address: one for one in await targets_of(Addresses(addresses))}
    found = []
    for layer in plan.layers:
        if isinstance(layer.recipe, LayerRecipe) and layer.target is not None:
            # All copied trees lie below all layers of files, whose ranks are not negative.
            rank = addresses.index(layer.target) - len(addresses) - 1
            found.append(_Copying(layer, layer.recipe, {}, targets[layer.target], rank))
    if not look:
        return tuple(found)
    trees = await concurrently(
        list_copied_tree(one.copied(view), **implicitly()) for one in found
    )
    return tuple(replace(one, tree=tree.paths) for one, tree in zip(found, trees))


def _database_occupant(recipe: DatabaseRecipe) -> Occupant:
    places = database_places(recipe.registrations)
    return Occupant(
        "the field `nix_database`",
        {path: None if is_directory else UNKNOWN for path, is_directory in places.items()},
        -1,
    )


async def _occupants(
    copying: Sequence[_Copying], others: Sequence[Occupant], view: StoreView
) -> tuple[Occupant, ...]:
    """Returns who puts what where, bottom first.

    :param others: what is above the layers with store paths. These are read where it matters what they have.
    """
    shared = shared_places([*(one.occupant({}) for one in copying), *others])
    reading = [(one, paths) for one, paths in zip(copying, shared) if paths]
    found: tuple[CopiedThings, ...] = await concurrently(
        look_at_copied_things(CopiedThingsRequest(one.copied(view), paths), **implicitly())
        for one, paths in reading
    )
    things = {
        one.recipe: {
            path: copied_thing(one.recipe, path, mode, contents)
            for path, (mode, contents) in looked.things.items()
        }
        for (one, _), looked in zip(reading, found)
    }
    return (*(one.occupant(things.get(one.recipe, {})) for one in copying), *others)


def _database_over(
    recipe: DatabaseRecipe, below: DirectoriesBelow, plan: PlannedLayers
) -> DatabaseRecipe:
    """Returns a database whose layer has directories as those below it, and what the image says of it."""
    places = database_places(recipe.registrations)
    inherited = [
        directory.as_permission()
        for directory in below.special
        if directory.path in places and (directory.mode, directory.owner) != (0o755, recipe.owner)
    ]
    own = [one for one in plan.permissions if any(one.matches(path) for path in places)]
    return replace(recipe, permissions=(*inherited, *own))


def _warn_of_shadows(target: Target, needed: frozenset[str]) -> None:
    idle = [repr(pattern) for pattern in shadows_of(target) if pattern not in needed]
    if idle:
        logger.warning(
            f"{target.address}: in the field `shadows`, {', '.join(idle)} replaces nothing of the layers "
            "below. Take it out, so that it hides no mistake later."
        )


async def _file_layer(layer: FileLayer, recipe: FilesRecipe) -> PlannedLayer:
    contents: Digest = await create(
        [FileEntry(sha256, FileDigest(sha256, size)) for sha256, size in recipe.sizes.items()]
    )
    return PlannedLayer(
        recipe,
        layer_history(layer.target, recipe),
        (),
        contents,
        target=layer.target.address,
        environment=EnvironmentNameRequest.from_target(layer.target),
        distributions=layer.distributions,
        why=layer.why,
    )


@rule(desc="Plan the root of the image")
async def plan_root(request: RootRequest) -> Root:
    (target,) = await targets_of(Addresses([request.address]))
    plan, database = request.plan, request.database
    files = await plan_file_layers(FileLayersRequest(request.address), **implicitly())
    groups = [group for layer in files.layers for group in layer.groups if group.entries]
    look = len(plan.layers) > 1 or bool(groups) or database is not None
    copying = await _copying(plan, request.view, look)
    try:
        above = [group.occupant() for group in groups]
        if database is not None:
            above.insert(0, _database_occupant(database))
        needed = require_no_collision(await _occupants(copying, above, request.view))
    except FileCollisionError as error:
        shadow = (
            f" If the second one is meant to replace it, name the place there in the field `{NixShadowsField.alias}`."
            if error.may_shadow
            else ""
        )
        raise NixImageError(
            f"{request.address}: {error} Take one of them out, or give it another place.{shadow}"
        ) from None
    _warn_of_shadows(target, needed)
    below = directories_below((one.recipe, one.tree) for one in copying)
    if database is not None:
        database = _database_over(database, below, plan)
        written = database_places(database.registrations)
        below = replace(below, spoiled=tuple(d for d in below.spoiled if d.path not in written))
    recipes = layers_of_files(
        files.layers[0].groups, [layer.groups for layer in files.layers[1:]], below
    )
    planned = await concurrently(
        _file_layer(layer, recipe)
        for layer, recipe in zip(files.layers, recipes)
        if recipe is not None
    )
    return Root(tuple(planned), database)


def rules():
    return collect_rules()
