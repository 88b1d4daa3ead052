"""Targets with layers → the recipes of their layers: evaluate, closure, subtract, split."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Mapping, Optional

from nixoci.closure import ClosureGraph, ContradictionError, NotClosedError
from nixoci.contents import Contents, require_closed
from nixoci.image import History
from nixoci.recipe import LayerRecipe, Owner, Permission
from nixoci.store_path import StorePath
from pants.engine.addresses import Address, Addresses, UnparsedAddressInputs
from pants.engine.rules import collect_rules
from pants.engine.target import StringSequenceField, Target
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    addresses_of,
    concurrently,
    implicitly,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.interpolation import Interpolation
from pants_backend_nix.permissions_field import PermissionsField, to_permission
from pants_backend_nix.reproducible_field import NixReproducibleField
from pants_backend_nix.rules.closure import ClosureRequest, query_closure
from pants_backend_nix.rules.evaluate import NixPackage, NixPackageRequest, evaluate_package
from pants_backend_nix.rules.split import SplitRequest, split_contents
from pants_backend_nix.rules.subtract import SubtractRequest, subtract_ignored
from pants_backend_nix.subsystem import NixImageSubsystem
from pants_backend_nix.target_types import (
    NixAuthorField,
    NixCommentField,
    NixCopyToRootField,
    NixCreatedByField,
    NixIgnoreField,
    NixLayersField,
    NixMaxLayersField,
    NixPackagesField,
)

if TYPE_CHECKING:
    from nixoci.layer import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LayerTarget:
    """One target that holds layers, and what it names.

    :param below: addresses of all the layer targets below it.
    """

    target: Target
    packages: tuple[NixPackage, ...]
    copied: tuple[NixPackage, ...]
    ignored: tuple[NixPackage, ...]
    below: tuple[Address, ...]

    @property
    def all_packages(self) -> tuple[NixPackage, ...]:
        return (*self.packages, *self.copied, *self.ignored)


@dataclass(frozen=True)
class LayerTargetsRequest:
    """:param address: of a target with the fields of a layer."""

    address: Address


@dataclass(frozen=True)
class LayerTargets:
    """:param targets: bottom first, each once; the last one is the one that was asked for."""

    targets: tuple[LayerTarget, ...]

    @property
    def packages(self) -> tuple[NixPackage, ...]:
        return tuple(package for target in self.targets for package in target.all_packages)


async def _field_addresses(target: Target, field_type: type[StringSequenceField]) -> Addresses:
    field = target[field_type]
    if not field.value:
        return Addresses()
    return await addresses_of(
        UnparsedAddressInputs(
            field.value,
            owning_address=target.address,
            description_of_origin=f"the field `{field.alias}` of {target.address}",
        )
    )


async def _field_packages(
    target: Target, field_type: type[StringSequenceField]
) -> tuple[NixPackage, ...]:
    addresses = await _field_addresses(target, field_type)
    origin = f"The field `{field_type.alias}` of {target.address}"
    return await concurrently(
        evaluate_package(NixPackageRequest(address, origin), **implicitly())
        for address in addresses
    )


async def _layer_target(target: Target, below: Iterable[Address]) -> LayerTarget:
    packages, copied, ignored = await concurrently(
        _field_packages(target, field_type)
        for field_type in (NixPackagesField, NixCopyToRootField, NixIgnoreField)
    )
    return LayerTarget(target, packages, copied, ignored, tuple(below))


@rule(desc="Resolve layers")
async def resolve_layer_targets(request: LayerTargetsRequest) -> LayerTargets:
    (root,) = await targets_of(Addresses([request.address]))
    targets = {root.address: root}
    direct: dict[Address, Addresses] = {}
    waiting = [root.address]
    while waiting:
        address = waiting.pop()
        direct[address] = await _field_addresses(targets[address], NixLayersField)
        for target in await targets_of(direct[address]):
            if not target.has_field(NixMaxLayersField):
                raise NixImageError(
                    f"The field `layers` of {address} names {target.address}, which is a "
                    f"`{target.alias}`. Name a `nix_layer`; packages go into `packages`."
                )
            if target.address not in targets:
                targets[target.address] = target
                waiting.append(target.address)
    below: dict[Address, tuple[Address, ...]] = {}
    for address in _bottom_first(root.address, direct):
        reach = dict.fromkeys(b for d in direct[address] for b in (*below[d], d))
        below[address] = tuple(reach)
    return LayerTargets(
        await concurrently(
            _layer_target(targets[address], addresses_below)
            for address, addresses_below in below.items()
        )
    )


def _bottom_first(root: Address, direct: dict[Address, Addresses]) -> tuple[Address, ...]:
    """Returns what `root` reaches, each after all that is below it.

    :raises NixImageError: a layer is below itself.
    """
    order: dict[Address, None] = {}
    stack = [(root, iter(direct[root]))]
    while stack:
        address, rest = stack[-1]
        following = next((a for a in rest if a not in order), None)
        if following is None:
            order[address] = None
            stack.pop()
        else:
            above = [address for address, _ in stack]
            if following in above:
                cycle = [*above[above.index(following) :], following]
                raise NixImageError(
                    f"{following} is below itself by the field `layers`; take one of these out:\n"
                    + bullet_list(address.spec for address in cycle)
                )
            stack.append((following, iter(direct[following])))
    return tuple(order)


@dataclass(frozen=True)
class LayersRequest:
    """Asks for the recipes of the layers of a target and of all targets below it.

    :param more_packages: to put into the uppermost one, besides those of its fields.
    :param more_ignored: to ignore there, likewise.
    :param owner: of `/nix` in all of them.
    :param session: and `here`: plans with what a store has now, see `ClosureRequest`.
    """

    address: Address
    more_packages: tuple[NixPackage, ...] = ()
    more_ignored: tuple[NixPackage, ...] = ()
    owner: Owner = Owner()
    session: Optional[int] = None
    here: bool = False


@dataclass(frozen=True)
class PlannedLayer:
    """:param packages: those that its paths may come from.
    :param keep: its bytes, since they could not be made again.
    :param environment: of the target that has it.
    """

    recipe: Recipe
    history: History
    packages: tuple[NixPackage, ...]
    keep: bool = False
    environment: EnvironmentNameRequest = THIS_MACHINE


@dataclass(frozen=True)
class PlannedLayers:
    """:param layers: bottom first.
    :param contents: of each layer target, bottom first.
    """

    layers: tuple[PlannedLayer, ...]
    contents: tuple[Contents, ...]

    @property
    def graph(self) -> ClosureGraph:
        """All that is in the store of the image."""
        return ClosureGraph().union(*(contents.graph for contents in self.contents))

    def require_closed(self, address: Address) -> None:
        """:raises NixImageError: a path that is left out is referenced."""
        try:
            require_closed(self.contents)
        except NotClosedError as error:
            chain = "\n  -> ".join(error.chain)
            raise NixImageError(
                f"{address}: the field `ignore` (of the target or of one of its layers) keeps "
                f"{error.missing} out of the image, but {error.chain[-2]} in the image references "
                "it. Take it out of `ignore`, or build the package without that reference. It is "
                f"referenced so:\n\n  {chain}"
            ) from None


@rule(desc="Plan layers")
async def plan_layers(request: LayersRequest, nix_image: NixImageSubsystem) -> PlannedLayers:
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    every = dict.fromkeys(
        (*resolved.packages, *request.more_packages, *request.more_ignored)
    )
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
    contents: list[Contents] = []
    layers: dict[LayerRecipe, PlannedLayer] = {}
    for layer in resolved.targets:
        last = layer.target.address == request.address
        environment = EnvironmentNameRequest.from_target(layer.target)
        packages = layer.packages + (request.more_packages if last else ())
        ignored = layer.ignored + (request.more_ignored if last else ())
        mine = (*packages, *layer.copied, *ignored)
        subtracted = await subtract_ignored(
            SubtractRequest(
                graph.closure(_paths(mine)),
                packages=_paths(packages),
                copied=_paths(layer.copied),
                ignored=_paths(ignored),
                below=tuple(sorted(set().union(*(held[address] for address in layer.below)))),
            ),
            **implicitly(),
        )
        _log_kept_copies(layer, subtracted.contents)
        held[layer.target.address] = set(subtracted.contents.graph)
        contents.append(subtracted.contents)
        apart = _paths(package for package in mine if not package.reproducible)
        recipes = await split_contents(
            SplitRequest(
                subtracted.contents,
                layer.target[NixMaxLayersField].value,
                _permissions(layer.target, mine),
                nix_image.tar_dialect.value,
                request.owner,
                apart,
            ),
            **implicitly(),
        )
        for recipe in recipes.recipes:
            # The same recipe twice would be the same bytes twice.
            keep = not (
                layer.target.get(NixReproducibleField).value and set(apart).isdisjoint(recipe.paths)
            )
            history = _history(layer.target, recipe)
            holders = _holders(recipe, mine, graphs)
            layers.setdefault(recipe, PlannedLayer(recipe, history, holders, keep, environment))
    return PlannedLayers(tuple(layers.values()), tuple(contents))


def _log_kept_copies(layer: LayerTarget, contents: Contents) -> None:
    """Says which copied paths are in the store as well, where the user may not expect them."""
    packages = _paths(layer.packages)
    for info in contents.copied:
        if info.path in contents.graph and info.path not in packages:
            referrers = [i.path for i in contents.graph.values() if info.path in i.references]
            logger.debug(
                f"{layer.target.address}: {info.path} is copied to the root of the image and kept in "
                f"its store as well, since {referrers[0]} references it."
            )


def _holders(
    recipe: LayerRecipe,
    packages: Iterable[NixPackage],
    graphs: Mapping[NixPackage, ClosureGraph],
) -> tuple[NixPackage, ...]:
    """Returns packages that are enough to have the paths of a recipe, so that no others are built."""
    missing = set(recipe.paths)
    holders = []
    for package in packages:
        if not missing.isdisjoint(graphs[package]):
            holders.append(package)
            missing.difference_update(graphs[package])
    return tuple(holders)


def _paths(packages: Iterable[NixPackage]) -> tuple[StorePath, ...]:
    return tuple(dict.fromkeys(path for package in packages for path in package.paths))


def _history(target: Target, recipe: LayerRecipe) -> History:
    return History(
        # Not the target's name: renaming a target must not make another image.
        created_by=target[NixCreatedByField].value or f"nixoci {recipe.summary}",
        author=target[NixAuthorField].value,
        comment=target[NixCommentField].value,
    )


def _permissions(target: Target, packages: Iterable[NixPackage]) -> tuple[Permission, ...]:
    interpolation = Interpolation.create(target.address, packages)
    permissions = []
    for entry in target[PermissionsField].value or ():
        path = interpolation.pattern(PermissionsField.alias, entry["path"], set())
        permissions.append(to_permission(entry, target.address, {"path": path}))
    return tuple(permissions)


def rules():
    return collect_rules()
