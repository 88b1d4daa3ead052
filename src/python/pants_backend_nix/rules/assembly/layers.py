"""Targets with layers → the recipes of their layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Mapping, Optional, Union

from nixoci.image.image import History
from nixoci.layering.collisions import differing_permissions
from nixoci.layering.contents import Contents, recipes, require_closed
from nixoci.layering.distributions import DistributionSize
from nixoci.layering.preferences import Preferences
from nixoci.recipe.files import FilesRecipe
from nixoci.recipe.layer import ROOT, LayerRecipe, Permission
from nixoci.store.closure import ClosureGraph, NotClosedError
from nixoci.store.path import StorePath
from pants.engine.addresses import Address
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules
from pants.engine.target import Target

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    concurrently,
    implicitly,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.layering import FloorSplitRequest, common_rates, split_floor
from pants_backend_nix.rules.assembly.stack import StackRequest, stack_contents
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.database import owner_of_nix
from pants_backend_nix.targets.fields.excludes import NixExcludesField
from pants_backend_nix.targets.fields.history import (
    NixAuthorField,
    NixCommentField,
    NixCreatedByField,
)
from pants_backend_nix.targets.fields.permissions import PermissionsField, to_permission
from pants_backend_nix.targets.fields.reproducible import NixReproducibleField
from pants_backend_nix.targets.interpolation import Interpolation

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe


@dataclass(frozen=True)
class LayersRequest:
    """Asks for the recipes of the layers of a target and of all targets below it."""

    address: Address
    view: StoreView = StoreView()


@dataclass(frozen=True)
class PlannedLayer:
    """:param packages: those that its paths may come from.
    :param contents: of its files, each named by its SHA-256.
    :param keep: its bytes, since they could not be made again.
    :param target: the layer target that it belongs to; None for a Nix database.
    :param environment: of that target, or of the image.
    :param distributions: of Python that its files are of; `why`, these are a layer.
    """

    recipe: Recipe
    history: History
    packages: tuple[NixPackage, ...]
    contents: Digest = EMPTY_DIGEST
    keep: bool = False
    target: Optional[Address] = None
    environment: EnvironmentNameRequest = THIS_MACHINE
    distributions: tuple[DistributionSize, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class PlannedLayers:
    """:param layers: bottom first.
    :param contents: of each layer target, bottom first.
    :param preferences: what is known of how often the store paths change: what the layers were split with.
    :param permissions: of the target that was asked for.
    """

    layers: tuple[PlannedLayer, ...]
    contents: tuple[Contents, ...]
    preferences: Preferences = Preferences()
    permissions: tuple[Permission, ...] = ()

    @property
    def graph(self) -> ClosureGraph:
        """All that is in the store of the image."""
        return ClosureGraph().union(*(contents.graph for contents in self.contents))

    @property
    def all_paths(self) -> ClosureGraph:
        """All that is in its layers: what is only copied to the root as well."""
        copied = (ClosureGraph(contents.copied) for contents in self.contents)
        return self.graph.union(*copied)

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

    def require_whole_paths(self, address: Address) -> None:
        """Checks that what is in the store of an image with a Nix database is all of it.

        :raises NixImageError: a layer target has `excludes`.
        """
        for layer in self.layers:
            recipe = layer.recipe
            if not isinstance(recipe, LayerRecipe) or not recipe.excludes:
                continue
            for entry in recipe.entries:
                if entry.destination != ROOT:
                    raise NixImageError(
                        f"{address}: with `nix_database`, all store paths of the image are registered "
                        "with the hashes of their contents, which those with files left out do not "
                        f"have: the field `excludes` of {layer.target} applies to {entry.path}. Take "
                        f"`excludes` out of {layer.target} (and have Nix build packages without these "
                        "files), keep it for packages that are only in `copy_to_root`, or set "
                        "`nix_database=False`."
                    )


@rule(desc="Plan layers")
async def plan_layers(request: LayersRequest, nix_image: NixImageSubsystem) -> PlannedLayers:
    stack = await stack_contents(StackRequest(request.address, request.view), **implicitly())
    # One user owns `/nix` in all layers of an image.
    owner = owner_of_nix(stack.floors[-1].target)
    splits = await concurrently(
        split_floor(FloorSplitRequest(floor, request.view), **implicitly())
        for floor in stack.floors
    )
    layers: dict[LayerRecipe, PlannedLayer] = {}
    for floor, found in zip(stack.floors, splits):
        target = floor.target
        apart = set(floor.apart)
        for recipe in recipes(
            floor.contents,
            found.parts,
            max_layers=floor.max_layers,
            permissions=permissions_of(target, floor.packages),
            owner=owner,
            dialect=nix_image.tar_dialect.value,
            excludes=target[NixExcludesField].value or (),
        ):
            # The same recipe twice would be the same bytes twice.
            keep = not (target.get(NixReproducibleField).value and apart.isdisjoint(recipe.paths))
            planned = PlannedLayer(
                recipe,
                layer_history(target, recipe),
                _holders(recipe, floor.packages),
                keep=keep,
                target=target.address,
                environment=EnvironmentNameRequest.from_target(target),
            )
            layers.setdefault(recipe, planned)
    _require_one_way(request.address, layers)
    return PlannedLayers(
        tuple(layers.values()),
        tuple(floor.contents for floor in stack.floors),
        Preferences(
            rates=common_rates(
                [
                    (_held(floor.contents), found.preferences.rates)
                    for floor, found in zip(stack.floors, splits)
                ]
            ),
            first_party=frozenset().union(*(found.preferences.first_party for found in splits)),
        ),
        permissions_of(stack.floors[-1].target, stack.floors[-1].packages),
    )


def _require_one_way(address: Address, layers: Mapping[LayerRecipe, PlannedLayer]) -> None:
    """:raises NixImageError: two layer targets hold one store path, with different permissions."""
    found = differing_permissions(layers)
    if found is not None:
        path, lower, upper = found
        one, other = layers[lower].target, layers[upper].target
        raise NixImageError(
            f"{address}: {path} is in the layers of {one} and of {other}, whose fields "
            f"`{PermissionsField.alias}` differ in what may apply to it; only those of {other} would count. "
            f"Name {one} in the field `layers` of {other}, so that it is there once, or give both the same "
            "permissions for it."
        )


def _held(contents: Contents) -> tuple[StorePath, ...]:
    """Returns the store paths of a layer target, in the store and at the root."""
    return (*contents.graph, *(info.path for info in contents.copied))


def _holders(
    recipe: LayerRecipe, packages: Mapping[NixPackage, ClosureGraph]
) -> tuple[NixPackage, ...]:
    """Returns packages that are enough to have the paths of a recipe, so that no others are built."""
    missing = set(recipe.paths)
    holders = []
    for package, graph in packages.items():
        if not missing.isdisjoint(graph):
            holders.append(package)
            missing.difference_update(graph)
    return tuple(holders)


def layer_history(target: Target, recipe: Union[LayerRecipe, FilesRecipe]) -> History:
    """Returns what the fields of a target say of how its layers came to be."""
    return History(
        # Not the target's name: renaming a target must not make another image.
        created_by=target[NixCreatedByField].value or f"nixoci {recipe.summary}",
        author=target[NixAuthorField].value,
        comment=target[NixCommentField].value,
    )


def permissions_of(target: Target, packages: Iterable[NixPackage]) -> tuple[Permission, ...]:
    """Returns what the field `permissions` of a target says.

    :param packages: that it may name.
    """
    interpolation = Interpolation.create(target.address, packages)
    permissions = []
    for entry in target[PermissionsField].value or ():
        path = interpolation.pattern(PermissionsField.alias, entry["path"], set())
        permissions.append(to_permission(entry, target.address, {"path": path}))
    return tuple(permissions)


def rules():
    return collect_rules()
