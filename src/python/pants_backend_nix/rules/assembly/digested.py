"""Target with layers → its layers, digested: also if its builds are not reproducible."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Optional, Sequence

from nixoci.compression.formats import Compression
from nixoci.image.image import History
from nixoci.layer.layer import Layer
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import LayerRecipe
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules
from pants.engine.target import Target

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    concurrently,
    implicitly,
    merge,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.effects import (
    EffectsRequest,
    PermissionsRequest,
    find_effects,
    require_effective_permissions,
)
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.assembly.layers import (
    LayersRequest,
    PlannedLayer,
    PlannedLayers,
    plan_layers,
)
from pants_backend_nix.rules.assembly.root import RootRequest, plan_root
from pants_backend_nix.rules.assembly.stack import StackRequest, stack_contents
from pants_backend_nix.rules.core.answers import KeepRequest, keep_answers
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.rules.flow.compress import CompressKeptRequest, compress_kept
from pants_backend_nix.rules.flow.database import RegisterRequest, register_paths
from pants_backend_nix.rules.flow.digest import DigestedLayer, DigestRequest, digest_recipe
from pants_backend_nix.targets.fields.compression import compression_of
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.database import (
    NixDatabaseField,
    NixDatabaseSignaturesField,
    owner_of_nix,
)

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DigestedLayersRequest:
    """Asks for the layers of a target and of all targets below it, the Nix database of an image among
    them.
    """

    address: Address
    view: StoreView = StoreView()


@dataclass(frozen=True)
class DigestedLayers:
    """:param layers: bottom first; `recipes` and `histories` go with them.
    :param kept: the files of layers that are kept, see `nixoci.layer.kept`.
    :param contents: of the files in all layers, each named by its SHA-256.
    :param plan: what the layers were planned as, in the same order.
    """

    layers: tuple[Layer, ...]
    recipes: tuple[Recipe, ...]
    histories: tuple[History, ...]
    kept: Digest
    contents: Digest
    plan: PlannedLayers


async def _database(target: Target, planned: PlannedLayers) -> Optional[DatabaseRecipe]:
    """Returns the database of an image: also if a base that is an image has one, which lacks the others' paths."""
    resolved = await resolve_layer_targets(LayerTargetsRequest(target.address), **implicitly())
    if not any(image[NixDatabaseField].value for image in resolved.images):
        return None
    planned.require_whole_paths(target.address)
    graph = planned.graph
    if not target[NixDatabaseSignaturesField].value:
        graph = graph.unsigned()
    database = await register_paths(RegisterRequest(graph, owner_of_nix(target)), **implicitly())
    return database.recipe


def _database_layer(target: Target, recipe: DatabaseRecipe) -> PlannedLayer:
    history = History(created_by=f"nixoci {recipe.summary}")
    return PlannedLayer(recipe, history, (), environment=EnvironmentNameRequest.from_target(target))


async def _compress_kept(
    compression: Optional[Compression],
    planned: tuple[PlannedLayer, ...],
    digested: Sequence[DigestedLayer],
) -> tuple[Layer, ...]:
    """Returns all layers, of which those that are kept are not compressed yet."""
    layers = [one.layer for one in digested if one.layer is not None]
    if compression is None:
        return tuple(layers)
    compressed = await concurrently(
        compress_kept(CompressKeptRequest(layer.recipe, one.kept, compression), **implicitly())
        for layer, one in zip(planned, digested)
        if one.kept != EMPTY_DIGEST and isinstance(layer.recipe, LayerRecipe)
    )
    results = iter(compressed)
    return tuple(
        layer if one.kept == EMPTY_DIGEST else next(results).layer
        for layer, one in zip(layers, digested)
    )


async def _digest(
    target: Target, compression: Optional[Compression], view: StoreView
) -> tuple[Optional[DigestedLayers], tuple[str, ...]]:
    """Returns the layers, or what is to be said of store paths that were built differently here."""
    planned = await plan_layers(LayersRequest(target.address, view), **implicitly())
    if target.has_field(NixConfigField):
        # A layer may leave out what another one has, an image may not.
        planned.require_closed(target.address)
    database = await _database(target, planned)
    root = await plan_root(RootRequest(target.address, planned, database, view), **implicitly())
    # What changes most often is on top.
    layers = (
        *planned.layers,
        *(() if root.database is None else (_database_layer(target, root.database),)),
        *root.files,
    )
    await require_effective_permissions(
        PermissionsRequest(target.address, layers, view), **implicitly()
    )
    stack = await stack_contents(StackRequest(target.address, view), **implicitly())
    # What was worked out for this is kept meanwhile.
    _, *digested = await concurrently(
        (
            keep_answers(KeepRequest(stack.unkept), **implicitly()),
            *(
                digest_recipe(
                    DigestRequest(
                        layer.recipe,
                        layer.packages,
                        layer.contents,
                        layer.keep,
                        compression,
                        view.place(layer.environment),
                    ),
                    **implicitly(),
                )
                for layer in layers
            ),
        )
    )
    different = tuple(dict.fromkeys(one.different for one in digested if one.different))
    if different:
        return None, different
    kept = await merge(one.kept for one in digested)
    return (
        DigestedLayers(
            await _compress_kept(compression, layers, digested),
            tuple(layer.recipe for layer in layers),
            tuple(layer.history for layer in layers),
            kept,
            await merge(layer.contents for layer in layers),
            replace(planned, layers=layers),
        ),
        (),
    )


@rule(desc="Digest layers")
async def digest_layers(
    request: DigestedLayersRequest, options: NixImageSubsystem
) -> DigestedLayers:
    (target,) = await targets_of(Addresses([request.address]))
    compression = compression_of(target, options)
    await find_effects(EffectsRequest(request.address), **implicitly())
    found, different = await _digest(target, compression, request.view)
    if found is None:
        logger.warning(
            f"{request.address}: {' '.join(different)} Their builds are not reproducible, so the layers "
            "are made of what this machine has, and other machines may make others. Fix the builds, or "
            "set `reproducible=False` on their `nix_package` targets: then all machines that share a "
            "cache ship the same layers."
        )
        session = await current_session(CurrentSessionRequest(), **implicitly())
        view = replace(request.view, session=session.id)
        found, different = await _digest(target, compression, view)
    if found is None:
        raise NixImageError(
            f"{request.address}: {' '.join(different)} The store changed while it was read; try again."
        )
    return found


def rules():
    return collect_rules()
