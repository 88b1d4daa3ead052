"""Layers as the user groups them: shell patterns say what belongs together."""

from __future__ import annotations

from nixoci.errors import InvalidInputError
from nixoci.layering.expected_cost import split_by_expected_cost
from nixoci.layering.preferences import Preferences, matches
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath


def split_by_groups(
    graph: ClosureGraph, max_layers: int, preferences: Preferences = Preferences()
) -> tuple[tuple[StorePath, ...], ...]:
    """See `nixoci.layering.split.Strategy`; uses `groups`, and all other preferences for what is left.

    Each group is a layer, the first group at the bottom. A path is in the first group that matches
    it. What no group matches is split by expected cost over the layers that are left, above the
    groups.

    :raises InvalidInputError: a group matches nothing that is left for it, or there are too many.
    """
    left = dict.fromkeys(graph)
    parts = []
    for group in preferences.groups:
        part = tuple(path for path in left if any(matches(pattern, path) for pattern in group))
        if not part:
            raise InvalidInputError(
                "group", list(group), "it matches no store path that no group before it has"
            )
        for path in part:
            del left[path]
        parts.append(part)
    needed = len(parts) + bool(left)
    if needed > max_layers:
        raise InvalidInputError(
            "max_layers", max_layers, f"the groups and what they leave over need {needed} layers"
        )
    if left:
        rest = graph.without({path for part in parts for path in part})
        parts.extend(split_by_expected_cost(rest, max_layers - len(parts), preferences))
    return tuple(parts)
