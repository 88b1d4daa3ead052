"""Our own split, and the default: the fewest bytes that an update is expected to move.

Small paths are split apart from large ones (`size_pools`), groups of many paths are made first
(`coarse_groups`), and the two that cost least are merged until there are few enough (`merge`). Where
there are previous layers, what is in the wrong place is moved (`refine`).
"""

from __future__ import annotations

from nixoci.layering.cost.coarse_groups import coarse_groups
from nixoci.layering.cost.merge import Costs, Layer, merge, units_of
from nixoci.layering.cost.model import CostModel, cost_model
from nixoci.layering.cost.previous_layers import Groups, take_apart
from nixoci.layering.cost.refine import refine
from nixoci.layering.cost.size_pools import Pool, size_pools
from nixoci.layering.preferences import Preferences
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

#: A better split than the previous one is worth its push if it has paid after so many events. An
#: image that is updated each working day has as many in a month.
HORIZON = 20


def split_by_expected_cost(
    graph: ClosureGraph, max_layers: int, preferences: Preferences = Preferences()
) -> tuple[tuple[StorePath, ...], ...]:
    """See `nixoci.layering.split.Strategy`; uses `rates`, `first_party` and `previous` of the preferences.

    Layers that change often are on top, since engines that know a layer by all that is below it
    fetch again what is above a change.

    :raises InvalidInputError: as `cost_model`.
    """
    if not graph:
        return ()
    model = cost_model(graph, preferences)
    if preferences.previous:
        layers = _continued(graph, model, max_layers, preferences)
    else:
        layers = [
            layer
            for pool in size_pools(model, max_layers)
            for layer in _merged(graph, model, pool)
        ]
    return tuple(
        tuple(sorted(model.paths[place] for place in places))
        for _, places in sorted((rate, sorted(places)) for rate, places in layers)
    )


#: Rate of a layer, and the places of its paths in the model.
_Placed = tuple[int, list[int]]


def _merged(graph: ClosureGraph, model: CostModel, pool: Pool) -> list[_Placed]:
    groups = coarse_groups(graph, model, pool.places, pool.max_groups)
    costs = Costs(model)
    return _placed(merge(units_of(model, groups, costs), pool.max_layers, costs), groups)


def _placed(layers: Iterable[Layer], groups: Groups) -> list[_Placed]:
    return [
        (layer.rate, [p for i, group in enumerate(groups) if layer.members >> i & 1 for p in group])
        for layer in layers
    ]


def _continued(
    graph: ClosureGraph, model: CostModel, max_layers: int, preferences: Preferences
) -> list[_Placed]:
    """Returns the cheaper of two: the previous layers, improved, and new ones that may keep some.

    What has to be pushed now counts for both.
    """
    everything = coarse_groups(graph, model, tuple(range(len(model.paths))))
    groups, starts, stored = take_apart(model, everything, preferences.previous)
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
    cheapest = min(candidates, key=lambda layers: sum(layer.cost for layer in layers))
    return _placed(cheapest, groups)
