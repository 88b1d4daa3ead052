"""Strategies that split the store paths of an image over its layers.

A strategy is a pure function of closure graph, layer budget and preferences. The graph need not be
closed: paths in layers below are not in it. Strategies are named in `STRATEGIES`; docs/layering.md
compares them.
"""

from __future__ import annotations

from typing import Mapping, Protocol

from nixoci.errors import InvalidInputError
from nixoci.layering.expected_cost import split_by_expected_cost
from nixoci.layering.explicit import split_by_groups
from nixoci.layering.popularity import split_by_popularity
from nixoci.layering.preferences import Preferences
from nixoci.layering.size_first import split_by_size
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

#: The most layers that an image may have: overlay file systems of container engines take no more.
MAX_LAYERS = 125

Split = tuple[tuple[StorePath, ...], ...]


class Strategy(Protocol):
    """Splits the paths of `graph` into at most `max_layers` parts, bottom layer first.

    Every path is in exactly one part, no part is empty, paths are sorted within a part, and the
    result does not depend on the order of the input.
    """

    def __call__(
        self, graph: ClosureGraph, max_layers: int, preferences: Preferences = Preferences()
    ) -> Split: ...


STRATEGIES: Mapping[str, Strategy] = {
    "expected_cost": split_by_expected_cost,
    "explicit": split_by_groups,
    "popularity": split_by_popularity,
    "size_first": split_by_size,
}

#: The strategy for whoever does not choose.
DEFAULT_STRATEGY = "expected_cost"


def split(
    graph: ClosureGraph,
    max_layers: int,
    strategy: str = DEFAULT_STRATEGY,
    preferences: Preferences = Preferences(),
) -> Split:
    """Splits the paths of `graph` over at most `max_layers` layers.

    :raises InvalidInputError: `max_layers` is not 1 to `MAX_LAYERS`, the strategy is unknown, or it
        cannot do what the preferences ask.
    """
    if not 1 <= max_layers <= MAX_LAYERS:
        raise InvalidInputError("max_layers", max_layers, f"expected 1 to {MAX_LAYERS}")
    if strategy not in STRATEGIES:
        raise InvalidInputError("strategy", strategy, f"expected one of {sorted(STRATEGIES)}")
    return STRATEGIES[strategy](graph, max_layers, preferences)
