"""Target with layers → what each of its layer targets holds: evaluate, closure, subtract."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Iterable

from nixoci.layering.contents import Contents, Divisible, divisible
from nixoci.store.closure import ClosureGraph, ContradictionError
from nixoci.store.path import StorePath
from pants.engine.addresses import Address
from pants.engine.rules import collect_rules
from pants.engine.target import Target
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import concurrently, implicitly, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.image_fields import ImageFieldsRequest, read_image_fields
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTarget,
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.core.answers import Question
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.rules.flow.closure import ClosureRequest, query_closure, unkept_answers
from pants_backend_nix.rules.flow.subtract import SubtractRequest, subtract_ignored
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.closures import (
    NixCopyToRootField,
    NixIgnoreField,
    NixPackagesField,
)
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.layer_budget import store_layer_count

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StackRequest:
    """Asks what a target and all targets below it hold.

    :param address: of a `nix_layer` or `nix_image`. What an image names in its config counts as
        being among its `packages`.
    """

    address: Address
    view: StoreView = StoreView()


@dataclass(frozen=True)
class Floor:
    """One layer target and what it holds.

    :param packages: all that its paths may come from, with the closure of each.
    :param ignored: those of them that its field `ignore` names.
    """

    target: Target
    contents: Contents
    packages: FrozenDict[NixPackage, ClosureGraph]
    ignored: tuple[NixPackage, ...] = ()

    @property
    def max_layers(self) -> int:
        """Over how many layers its store paths are split; layers of files have the rest."""
        return store_layer_count(self.target)

    @property
    def divisible(self) -> Divisible:
        """What of it is split over layers."""
        return divisible(self.contents, self.max_layers, self.apart)

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
    """:param floors: bottom first; the last one is that of the target that was asked for.
    :param unkept: answers of which it is made, and that no cache has yet, see `unkept_answers`.
    """

    floors: tuple[Floor, ...]
    unkept: tuple[Question, ...] = field(default=(), compare=False)


async def _config_packages(
    target: Target,
) -> tuple[tuple[NixPackage, ...], tuple[NixPackage, ...]]:
    """Returns the packages that the config of an image brings in, and those that it keeps out."""
    fields = await read_image_fields(ImageFieldsRequest(target.address), **implicitly())
    return fields.packages, fields.ignored


@rule(desc="Subtract ignored store paths")
async def stack_contents(request: StackRequest) -> Stack:
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    # An image that is the base of another one holds what it holds by itself.
    named = dict(
        zip(
            (image.address for image in resolved.images),
            await concurrently(_config_packages(image) for image in resolved.images),
        )
    )
    more = [package for some in named.values() for one in some for package in one]
    every = dict.fromkeys((*resolved.packages, *more))
    closures = await concurrently(
        query_closure(ClosureRequest(package, request.view), **implicitly()) for package in every
    )
    try:
        graph = ClosureGraph().union(*(closure.graph for closure in closures))
    except ContradictionError as error:
        raise NixImageError(f"{request.address}: {error}") from None
    graphs = {package: closure.graph for package, closure in zip(every, closures)}
    held: dict[Address, set[StorePath]] = {}
    floors: list[Floor] = []
    for layer in resolved.targets:
        more_packages, more_ignored = named.get(layer.target.address, ((), ()))
        packages = layer.packages + more_packages
        ignored = layer.ignored + more_ignored
        _require_no_contradiction(layer, (*packages, *layer.copied), ignored)
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
        floors.append(Floor(layer.target, subtracted.contents, mine_graphs, layer.ignored))
    return Stack(tuple(floors), unkept_answers(every, closures))


def store_paths(packages: Iterable[NixPackage]) -> tuple[StorePath, ...]:
    """Returns the output paths of packages, each once."""
    return tuple(dict.fromkeys(path for package in packages for path in package.paths))


def _require_no_contradiction(
    layer: LayerTarget, wanted: Iterable[NixPackage], ignored: Iterable[NixPackage]
) -> None:
    """:raises NixImageError: a package is to be in the image, and to be kept out."""
    keep_out = {path: package for package in ignored for path in package.paths}
    for package in wanted:
        for path in package.paths:
            if path not in keep_out:
                continue
            field = NixIgnoreField if keep_out[path] in layer.ignored else NixConfigField
            raise NixImageError(
                f"{layer.target.address} names {package.address} in "
                f"{_fields_with(layer, package)}, so that it gets into the image, and keeps {path} out of it by "
                f"its field `{field.alias}`, which names {keep_out[path].address}. Take it out of one of them."
            )


def _fields_with(layer: LayerTarget, package: NixPackage) -> str:
    if package in layer.copied:
        return f"`{NixCopyToRootField.alias}`"
    named = layer.target[NixPackagesField].value and package in layer.packages
    return f"`{NixPackagesField.alias}`" if named else "a string"


def _log_kept_copies(address: Address, packages: Iterable[NixPackage], contents: Contents) -> None:
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
