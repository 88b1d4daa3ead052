"""The split of nixpkgs' dockerTools since pull request 355189 (`docker/auto-layer.py`).

Large paths are the cores of layers. One after the other, the largest path that is left becomes a
core. A path that is no core belongs with the cores that reach it most directly: those from which a
chain of references leads to it that passes no other core. Paths with the same set of such cores
share a layer, and what no core reaches shares one too. It ends before there would be too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nixoci.layering.preferences import Preferences
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

_Neighbours = Mapping[StorePath, Iterable[StorePath]]


def split_by_size(
    graph: ClosureGraph, max_layers: int, preferences: Preferences = Preferences()
) -> tuple[tuple[StorePath, ...], ...]:
    """See `nixoci.layering.split.Strategy`; uses no preferences. Of equally large
    paths the last one comes first, as nixpkgs takes them.

    A layer comes above all that its paths reference: layers are in the order of the size of their
    closures, as nixpkgs orders them.
    """
    references = {
        path: [r for r in info.references if r in graph and r != path]
        for path, info in graph.items()
    }
    users: dict[StorePath, list[StorePath]] = {path: [] for path in graph}
    for path, targets in references.items():
        for target in targets:
            users[target].append(path)
    cores_of: dict[StorePath, frozenset[StorePath]] = dict.fromkeys(graph, frozenset())
    sizes: dict[frozenset[StorePath], int] = {}
    if graph:
        sizes[frozenset()] = len(graph)
    for core in sorted(graph, key=lambda path: (graph[path].nar_size, path), reverse=True):
        changes = _changes(core, cores_of, references, users)
        after = dict(sizes)
        for path, cores in changes.items():
            after[cores_of[path]] -= 1
            if not after[cores_of[path]]:
                del after[cores_of[path]]
            after[cores] = after.get(cores, 0) + 1
        if len(after) > max_layers:
            break
        cores_of.update(changes)
        sizes = after
    parts: dict[frozenset[StorePath], list[StorePath]] = {}
    for path in graph:
        parts.setdefault(cores_of[path], []).append(path)

    def closure_size(part: list[StorePath]) -> int:
        return sum(graph[path].nar_size for path in _reach(part, references))

    ordered = sorted(parts.values(), key=lambda part: (closure_size(part), part))
    return tuple(tuple(part) for part in ordered)


def _changes(
    core: StorePath,
    cores_of: Mapping[StorePath, frozenset[StorePath]],
    references: _Neighbours,
    users: _Neighbours,
) -> dict[StorePath, frozenset[StorePath]]:
    """Returns the new cores of those paths that get others when `core` becomes one."""
    below = _reach([core], references) - {core}
    above = _reach([core], users)
    changes = {core: frozenset({core})}
    for path in below:
        # What reaches it through the new core reaches it less directly now, and so does the new
        # core where another one is between.
        cores = cores_of[path] - above
        if not cores & below:
            cores |= {core}
        if cores != cores_of[path]:
            changes[path] = cores
    return changes


def _reach(start: Iterable[StorePath], neighbours: _Neighbours) -> set[StorePath]:
    found = set(start)
    waiting = list(found)
    while waiting:
        for other in neighbours[waiting.pop()]:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found
