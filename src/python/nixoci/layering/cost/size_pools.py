"""Keeps small paths out of the way of large ones, so that splits of two revisions look alike.

What is merged first decides what is merged later. So one more small path can bring about other
layers everywhere, and large paths are pushed again for its sake. Small paths are therefore split by
themselves, over a tenth of the layers: what happens among them moves few bytes, and what happens
among the large ones does not depend on them. It costs little, for the bytes of small paths are few.
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layering.cost.coarse_groups import MAX_GROUPS
from nixoci.layering.cost.model import CostModel

#: With fewer layers, all paths are in one pool: a layer for small paths would be missed elsewhere.
FEWEST_LAYERS = 10

#: A path is small if it has less than one part in so many of what a layer has on average.
SMALL = 100

#: Groups of small paths that are compared with each other. It takes time, and little is at stake.
SMALL_GROUPS = 100


@dataclass(frozen=True)
class Pool:
    """Paths that are split by themselves.

    :param places: in `CostModel.paths`.
    :param max_layers: at least 1.
    :param max_groups: see `coarse_groups`.
    """

    places: tuple[int, ...]
    max_layers: int
    max_groups: int = MAX_GROUPS


def size_pools(model: CostModel, max_layers: int) -> tuple[Pool, ...]:
    """Divides all paths and all layers over one or two pools; none is empty."""
    everything = tuple(range(len(model.paths)))
    if max_layers < FEWEST_LAYERS or len(everything) <= max_layers:
        return (Pool(everything, max_layers),)
    total = sum(model.sizes)
    small = tuple(p for p in everything if model.sizes[p] * SMALL * max_layers < total)
    large = tuple(p for p in everything if model.sizes[p] * SMALL * max_layers >= total)
    # What one pool has no use for, the other one gets.
    for_small = min(len(small), max(max_layers // 10, max_layers - len(large)))
    pools = (Pool(small, for_small, SMALL_GROUPS), Pool(large, max_layers - for_small))
    return tuple(pool for pool in pools if pool.places)
