"""The split that nix2container and older dockerTools make: what is used most gets its own layer.

The popularity of a path is the number of reference chains that lead to it, its own included. The
most popular paths get a layer each; what is left when the budget ends shares the last layer.
"""

from __future__ import annotations

from nixoci.layering.preferences import Preferences
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath


def split_by_popularity(
    graph: ClosureGraph, max_layers: int, preferences: Preferences = Preferences()
) -> tuple[tuple[StorePath, ...], ...]:
    """See `nixoci.layering.split.Strategy`; uses no preferences. Ties are broken by path."""
    popularity = dict.fromkeys(graph, 1)
    for path in graph.referrers_first():
        for reference in graph[path].references:
            if reference != path and reference in popularity:
                popularity[reference] += popularity[path]
    ranked = sorted(graph, key=lambda path: (-popularity[path], path))
    alone, rest = ranked[: max_layers - 1], ranked[max_layers - 1 :]
    return tuple((path,) for path in alone) + ((tuple(sorted(rest)),) if rest else ())
