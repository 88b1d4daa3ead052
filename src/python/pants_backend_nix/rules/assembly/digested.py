"""Target with layers → its layers, digested: also if its builds are not reproducible."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from nixoci.compression.formats import Compression
from nixoci.image.image import History
from nixoci.layer.layer import Layer
from nixoci.recipe.layer import LayerRecipe, Owner
from pants.engine.addresses import Address
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    concurrently,
    implicitly,
    merge,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.layers import (
    LayersRequest,
    PlannedLayer,
    PlannedLayers,
    plan_layers,
)
from pants_backend_nix.rules.core.run import CurrentSessionRequest, current_session
from pants_backend_nix.rules.flow.compress import CompressKeptRequest, compress_kept
from pants_backend_nix.rules.flow.database import RegisterRequest, register_paths
from pants_backend_nix.rules.flow.digest import DigestedLayer, DigestRequest, digest_recipe
from pants_backend_nix.rules.flow.evaluate import NixPackage

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DigestedLayersRequest:
    """Asks for the layers of a target and of all targets below it.

    :param more_packages: and `more_ignored`, `owner`: as in `LayersRequest`.
    :param image: the target is an image: what its layers hold together must be closed.
    :param database: adds a layer with the Nix database, with signatures if the second one is true.
    :param compression: of every layer; None for layers that are not compressed.
    :param session: and `here`, as in `LayersRequest`; layers are digested here then, too.
    :param environment: of the layer with the database.
    """

    address: Address
    more_packages: tuple[NixPackage, ...] = ()
    more_ignored: tuple[NixPackage, ...] = ()
    owner: Owner = Owner()
    image: bool = False
    database: bool = False
    signatures: bool = False
    compression: Optional[Compression] = None
    session: Optional[int] = None
    here: bool = False
    environment: EnvironmentNameRequest = THIS_MACHINE


@dataclass(frozen=True)
class DigestedLayers:
    """:param layers: bottom first; `recipes` and `histories` go with them.
    :param kept: the files of layers that are kept, see `nixoci.layer.kept`.
    :param plan: what the layers were planned as, in the same order.
    """

    layers: tuple[Layer, ...]
    recipes: tuple[Recipe, ...]
    histories: tuple[History, ...]
    kept: Digest
    plan: PlannedLayers


async def _database_layer(
    request: DigestedLayersRequest, planned: PlannedLayers
) -> tuple[PlannedLayer, ...]:
    if not request.database:
        return ()
    graph = planned.graph if request.signatures else planned.graph.unsigned()
    database = await register_paths(RegisterRequest(graph, request.owner), **implicitly())
    history = History(created_by=f"nixoci {database.recipe.summary}")
    return (PlannedLayer(database.recipe, history, (), environment=request.environment),)


async def _compress_kept(
    request: DigestedLayersRequest,
    planned: tuple[PlannedLayer, ...],
    digested: tuple[DigestedLayer, ...],
) -> tuple[Layer, ...]:
    """Returns all layers, of which those that are kept are not compressed yet."""
    compression = request.compression
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
    request: DigestedLayersRequest, session: Optional[int]
) -> tuple[Optional[DigestedLayers], tuple[str, ...]]:
    """Returns the layers, or what is to be said of store paths that were built differently here."""
    planned = await plan_layers(
        LayersRequest(
            request.address,
            request.more_packages,
            request.more_ignored,
            request.owner,
            session,
            request.here,
        ),
        **implicitly(),
    )
    if request.image:
        planned.require_closed(request.address)
    database = await _database_layer(request, planned)
    layers = (*planned.layers, *database)
    digested = await concurrently(
        digest_recipe(
            DigestRequest(
                layer.recipe,
                layer.packages,
                layer.keep,
                request.compression,
                THIS_MACHINE if request.here else layer.environment,
            ),
            **implicitly(),
        )
        for layer in layers
    )
    different = tuple(dict.fromkeys(one.different for one in digested if one.different))
    if different:
        return None, different
    kept = await merge(one.kept for one in digested)
    return (
        DigestedLayers(
            await _compress_kept(request, layers, digested),
            tuple(layer.recipe for layer in layers),
            tuple(layer.history for layer in layers),
            kept,
            PlannedLayers(layers, planned.contents),
        ),
        (),
    )


@rule(desc="Digest layers")
async def digest_layers(request: DigestedLayersRequest) -> DigestedLayers:
    found, different = await _digest(request, request.session)
    if found is None:
        logger.warning(
            f"{request.address}: {' '.join(different)} Their builds are not reproducible, so the layers "
            "are made of what this machine has, and other machines may make others. Mend the builds, or "
            "set `reproducible=False` on their `nix_package` targets: then all machines that share a "
            "cache ship the same layers."
        )
        session = await current_session(CurrentSessionRequest(), **implicitly())
        found, different = await _digest(request, session.id)
    if found is None:
        raise NixImageError(
            f"{request.address}: {' '.join(different)} The store changed while it was read; try again."
        )
    return found


def rules():
    return collect_rules()
