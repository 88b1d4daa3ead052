"""The layers of an earlier build, as a start for the split of the next one."""

from __future__ import annotations

from nixoci.layering.cost.model import CostModel, package_name
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

Groups = tuple[tuple[int, ...], ...]


def take_apart(
    model: CostModel, groups: Groups, previous: Sequence[Sequence[StorePath]]
) -> tuple[Groups, Groups, tuple[frozenset[int], ...]]:
    """Returns groups that fit into the previous layers, and these layers, made of them.

    :param groups: of places in `model.paths`.
    :return: the groups, less what is in different layers or new; which of the new groups start in
        one layer; and which are all of a layer that is still whole, so that a registry has it.
    """
    layer_of = {path: number for number, layer in enumerate(previous) for path in layer}
    parts: dict[tuple[int, int], list[int]] = {}
    for number, group in enumerate(groups):
        for place in group:
            parts.setdefault((number, layer_of.get(model.paths[place], -1)), []).append(place)
    keys = sorted(parts)
    stored = []
    here = set(model.paths)
    for number, layer in enumerate(previous):
        if layer and here.issuperset(layer):
            stored.append(frozenset(i for i, key in enumerate(keys) if key[1] == number))
    starts: dict[object, list[int]] = {}
    homes = _homes(model, previous, layer_of)
    for index, key in enumerate(keys):
        home = key[1] if key[1] >= 0 else homes.get(package_name(model.paths[parts[key][0]]))
        starts.setdefault(index if home is None else (home, "layer"), []).append(index)
    return (
        tuple(tuple(parts[key]) for key in keys),
        tuple(tuple(start) for start in starts.values()),
        tuple(stored),
    )


def _homes(
    model: CostModel,
    previous: Sequence[Sequence[StorePath]],
    layer_of: dict[StorePath, int],
) -> dict[str, int]:
    """Returns where packages were of which another store path is in the graph now."""
    here = set(model.paths)
    return {
        package_name(path): layer_of[path]
        for layer in previous
        for path in sorted(layer, reverse=True)
        if path not in here
    }
