"""Strategies that split the store paths of an image over its layers.

A strategy is a pure function of closure graph and layer budget. The graph need not be closed: paths
in layers below are not in it. Strategies are named in `STRATEGIES`.
"""

from __future__ import annotations

from typing import Mapping, Protocol

from nixoci.closure import ClosureGraph
from nixoci.errors import InvalidInputError
from nixoci.layering.popularity import split_by_popularity
from nixoci.store_path import StorePath

#: The most layers that an image may have: overlay file systems of container engines take no more.
MAX_LAYERS = 125

Split = tuple[tuple[StorePath, ...], ...]


class Strategy(Protocol):
    """Splits the paths of `graph` into at most `max_layers` parts, bottom layer first.

    Every path is in exactly one part, no part is empty, paths are sorted within a part, and the
    result does not depend on the order of the input.
    """

    def __call__(self, graph: ClosureGraph, max_layers: int) -> Split: ...


STRATEGIES: Mapping[str, Strategy] = {"popularity": split_by_popularity}


def split(graph: ClosureGraph, max_layers: int, strategy: str = "popularity") -> Split:
    """Splits the paths of `graph` over at most `max_layers` layers.

    :raises InvalidInputError: `max_layers` is not 1 to `MAX_LAYERS`, or the strategy is unknown.
    """
    if not 1 <= max_layers <= MAX_LAYERS:
        raise InvalidInputError("max_layers", max_layers, f"expected 1 to {MAX_LAYERS}")
    if strategy not in STRATEGIES:
        raise InvalidInputError("strategy", strategy, f"expected one of {sorted(STRATEGIES)}")
    return STRATEGIES[strategy](graph, max_layers)
