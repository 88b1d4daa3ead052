"""What a layer target holds → its split over layers, by fields, options and what Pants knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Optional, Sequence

from nixoci.errors import InvalidInputError
from nixoci.layering.preferences import Preferences, matches
from nixoci.layering.previous_document import previous_layers
from nixoci.store.path import StorePath
from pants.core.util_rules.source_files import SourceFilesRequest
from pants.engine.addresses import Addresses
from pants.engine.rules import collect_rules
from pants.engine.target import Target

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    contents,
    implicitly,
    rule,
    source_files_of,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.layer_plan import LayerPlanRequest, split_images
from pants_backend_nix.rules.assembly.stack import Floor
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.rules.flow.split import LayerSplit, SplitRequest, split_graph
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.fields.layering import (
    NixChangeRatesField,
    NixLayerGroupsField,
    NixLayeringField,
    NixPreviousField,
)
from pants_backend_nix.targets.layer_plan import NixLayerPlanField, NixPlannedImagesField

#: See `Preferences.rates`.
Rates = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class FloorSplitRequest:
    """Asks how what one layer target holds is split."""

    floor: Floor
    view: StoreView = StoreView()


async def _planned(
    target: Target, plan: NixLayerPlanField, view: StoreView
) -> Optional[LayerSplit]:
    """Returns the split that a layer plan makes, if the target has one."""
    if plan.value is None:
        return None
    for field_type in (NixLayeringField, NixLayerGroupsField, NixPreviousField):
        if target[field_type].value is not None:
            raise NixImageError(
                f"{target.address} has the fields `{plan.alias}` and `{field_type.alias}`, but its layers "
                "are those of the plan: take out one of the two."
            )
    (address,) = await field_addresses(target, plan.alias, (plan.value,))
    (named,) = await targets_of(Addresses([address]))
    if not named.has_field(NixPlannedImagesField):
        raise NixImageError(
            f"The field `{plan.alias}` of {target.address} names {address}, which is a "
            f"`{named.alias}`. Name a `nix_layer_plan`."
        )
    found = await split_images(LayerPlanRequest(address, view), **implicitly())
    if target.address not in found.splits:
        raise NixImageError(
            f"{target.address} names {address} in its field `{plan.alias}`, but that plan does not have "
            f"it among its `images`. Add {target.address.spec!r} there."
        )
    return LayerSplit(found.splits[target.address], found.preferences)


def rates_of(target: Target, options: NixImageSubsystem) -> Rates:
    """Returns how often store paths of a target change, for `Preferences.rates`."""
    return (*(target[NixChangeRatesField].value or {}).items(), *options.rates.items())


def common_rates(
    floors: Sequence[tuple[Collection[StorePath], Rates]],
) -> Rates:
    """Returns rates that give each store path of several layer targets the rate that it has in its own one.

    :param floors: the paths of each target and the rates that its split was made with; the last one counts where
        two have a path.
    """
    # What has no rate yet, and what is wanted: also that it has none.
    left: dict[StorePath, Optional[float]] = {}
    for paths, rates in reversed(floors):
        for path in paths:
            if path not in left:
                left[path] = next((rate for pattern, rate in rates if matches(pattern, path)), None)
    found: dict[tuple[str, float], None] = {}
    for _, rates in reversed(floors):
        for pattern, rate in rates:
            matched = [path for path in left if matches(pattern, path)]
            right = [path for path in matched if left[path] == rate]
            # Where it does not hold for all, those of which it does are named one by one.
            patterns: list[str] = [pattern]
            if len(matched) != len(right):
                patterns = [*right]
            found.update({(one, rate): None for one in patterns})
            for path in right:
                del left[path]
    return tuple(found)


async def _previous(target: Target) -> tuple[tuple[StorePath, ...], ...]:
    field = target[NixPreviousField]
    if field.value is None:
        return ()
    files = await source_files_of(SourceFilesRequest([field]))
    (file,) = await contents(files.snapshot.digest)
    try:
        return previous_layers(file.content)
    except InvalidInputError as error:
        raise NixImageError(
            f"The field `{field.alias}` of {target.address} names {file.path}, which is no file that "
            f"`package` wrote for an image or a layer. {error} Copy one from `dist/`, let `nixoci "
            "previous` make one of a published image, or leave the field out."
        ) from None


@rule
async def split_floor(request: FloorSplitRequest, options: NixImageSubsystem) -> LayerSplit:
    target = request.floor.target
    plan = target.get(NixLayerPlanField)
    planned = await _planned(target, plan, request.view)
    if planned is not None:
        return planned
    groups = target[NixLayerGroupsField].value or ()
    strategy = target[NixLayeringField].value
    if groups and strategy not in (None, "expected_cost"):
        raise NixImageError(
            f"{target.address} has the field `layer_groups` and `layering={strategy!r}`. What the "
            "groups leave over is split by expected cost: take out one of the two fields."
        )
    parts = request.floor.divisible
    return await split_graph(
        SplitRequest(
            parts.graph,
            parts.max_layers,
            "explicit" if groups else strategy or options.layering.value,
            Preferences(
                rates=rates_of(target, options),
                previous=await _previous(target),
                groups=groups,
                first_party=request.floor.first_party,
            ),
            str(target.address),
            EnvironmentNameRequest.from_target(target),
        ),
        **implicitly(),
    )


def rules():
    return collect_rules()
