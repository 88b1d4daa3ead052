"""Our own split, and the default: the fewest bytes that an update is expected to move.

Groups of a large closure are made first (`coarse_groups`), the two that cost least are merged until
there are few enough layers (`merge`), and what is in the wrong place is moved (`refine`).
"""

from __future__ import annotations

from nixoci.closure import ClosureGraph
from nixoci.layering.coarse_groups import coarse_groups
from nixoci.layering.cost_model import CostModel, cost_model
from nixoci.layering.merge import Costs, Layer, merge, units_of
from nixoci.layering.preferences import Preferences
from nixoci.layering.previous_layers import Groups, take_apart
from nixoci.layering.refine import refine
from nixoci.store_path import StorePath

#: A better split than the previous one is worth its push if it has paid after so many events. An
#: image that is updated each working day has as many in a month.
HORIZON = 20


def split_by_expected_cost(
    graph: ClosureGraph, max_layers: int, preferences: Preferences = Preferences()
) -> tuple[tuple[StorePath, ...], ...]:
    """See `nixoci.layering.Strategy`; uses `rates` and `previous` of the preferences.

    Layers that change often are on top, since engines that know a layer by all that is below it
    fetch again what is above a change.

    :raises InvalidInputError: a rate is not valid, or references form a cycle.
    """
    if not graph:
        return ()
    model = cost_model(graph, preferences)
    groups = coarse_groups(graph, model)
    if preferences.previous:
        groups, layers = _continued(model, groups, max_layers, preferences)
    else:
        costs = Costs(model)
        units = units_of(model, groups, costs)
        layers = refine(units, merge(units, max_layers, costs), max_layers, costs)
    parts = []
    for layer in sorted(layers, key=lambda layer: (layer.rate, layer.members)):
        places = [p for i, group in enumerate(groups) if layer.members >> i & 1 for p in group]
        parts.append(tuple(sorted(model.paths[place] for place in places)))
    return tuple(parts)


def _continued(
    model: CostModel, groups: Groups, max_layers: int, preferences: Preferences
) -> tuple[Groups, list[Layer]]:
    """Returns the cheaper of two: the previous layers, improved, and new ones that may keep some.

    What has to be pushed now counts for both.
    """
    groups, starts, stored = take_apart(model, groups, preferences.previous)
    masks = frozenset(sum(1 << index for index in indexes) for indexes in stored)
    # Costs are of `HORIZON` events and the push before them, divided by `HORIZON`.
    costs = Costs(model, masks, now=max(1, model.all_rates // HORIZON))
    units = units_of(model, groups, costs)
    kept = []
    for start in starts:
        layer = units[start[0]]
        for index in start[1:]:
            layer = costs.joined(layer, units[index])
        kept.append(layer)
    candidates = [
        refine(units, merge(layers, max_layers, costs), max_layers, costs)
        for layers in (kept, units)
    ]
    return groups, min(candidates, key=lambda layers: sum(layer.cost for layer in layers))
