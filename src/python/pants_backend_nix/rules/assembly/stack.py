"""Target with layers → what each of its layer targets holds: evaluate, closure, subtract."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Iterable, Optional

from nixoci.layering.contents import Contents, Divisible, divisible
from nixoci.store.closure import ClosureGraph, ContradictionError
from nixoci.store.path import StorePath
from pants.engine.addresses import Address
from pants.engine.rules import collect_rules
from pants.engine.target import Target
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import concurrently, implicitly, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.flow.closure import ClosureRequest, query_closure
from pants_backend_nix.rules.flow.evaluate import NixPackage
from pants_backend_nix.rules.flow.subtract import SubtractRequest, subtract_ignored
from pants_backend_nix.targets.target_types import NixMaxLayersField

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StackRequest:
    """Asks what a target and all targets below it hold.

    :param more_packages: to put into the uppermost one, besides those of its fields.
    :param more_ignored: to ignore there, likewise.
    :param session: and `here`: takes what a store has now, see `ClosureRequest`.
    """

    address: Address
    more_packages: tuple[NixPackage, ...] = ()
    more_ignored: tuple[NixPackage, ...] = ()
    session: Optional[int] = None
    here: bool = False


@dataclass(frozen=True)
class Floor:
    """One layer target and what it holds.

    :param packages: all that its paths may come from, with the closure of each.
    """

    target: Target
    contents: Contents
    packages: FrozenDict[NixPackage, ClosureGraph]

    @property
    def divisible(self) -> Divisible:
        """What of it is split over layers."""
        return divisible(self.contents, self.target[NixMaxLayersField].value, self.apart)

    @property
    def apart(self) -> tuple[StorePath, ...]:
        """The outputs of packages that are not reproducible."""
        return store_paths(package for package in self.packages if not package.reproducible)

    @property
    def first_party(self) -> frozenset[StorePath]:
        """The outputs of packages that are built from the sources of the repository."""
        return frozenset(store_paths(package for package in self.packages if package.first_party))


@dataclass(frozen=True)
class Stack:
    """:param floors: bottom first; the last one is that of the target that was asked for."""

    floors: tuple[Floor, ...]


@rule(desc="Subtract ignored store paths")
async def stack_contents(request: StackRequest) -> Stack:
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    every = dict.fromkeys((*resolved.packages, *request.more_packages, *request.more_ignored))
    closures = await concurrently(
        query_closure(ClosureRequest(package, request.session, request.here), **implicitly())
        for package in every
    )
    try:
        graph = ClosureGraph().union(*(closure.graph for closure in closures))
    except ContradictionError as error:
        raise NixImageError(f"{request.address}: {error}") from None
    graphs = {package: closure.graph for package, closure in zip(every, closures)}
    held: dict[Address, set[StorePath]] = {}
    floors: list[Floor] = []
    for layer in resolved.targets:
        last = layer.target.address == request.address
        packages = layer.packages + (request.more_packages if last else ())
        ignored = layer.ignored + (request.more_ignored if last else ())
        mine = dict.fromkeys((*packages, *layer.copied, *ignored))
        subtracted = await subtract_ignored(
            SubtractRequest(
                graph.closure(store_paths(mine)),
                packages=store_paths(packages),
                copied=store_paths(layer.copied),
                ignored=store_paths(ignored),
                below=tuple(sorted(set().union(*(held[address] for address in layer.below)))),
            ),
            **implicitly(),
        )
        _log_kept_copies(layer.target.address, packages, subtracted.contents)
        held[layer.target.address] = set(subtracted.contents.graph)
        mine_graphs = FrozenDict({package: graphs[package] for package in mine})
        floors.append(Floor(layer.target, subtracted.contents, mine_graphs))
    return Stack(tuple(floors))


def store_paths(packages: Iterable[NixPackage]) -> tuple[StorePath, ...]:
    """Returns the output paths of packages, each once."""
    return tuple(dict.fromkeys(path for package in packages for path in package.paths))


def _log_kept_copies(
    address: Address, packages: Iterable[NixPackage], contents: Contents
) -> None:
    """Says which copied paths are in the store as well, where the user may not expect them."""
    named = store_paths(packages)
    for info in contents.copied:
        if info.path in contents.graph and info.path not in named:
            referrers = [i.path for i in contents.graph.values() if info.path in i.references]
            logger.debug(
                f"{address}: {info.path} is copied to the root of the image and kept in "
                f"its store as well, since {referrers[0]} references it."
            )


def rules():
    return collect_rules()
