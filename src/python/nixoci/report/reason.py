"""Why store paths share a layer, in words: what changes them together.

The words follow from the references alone, so they hold for every way to split.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Callable, Iterable, Iterator, Mapping, Sequence

from nixoci.layering.cost.model import cost_model, package_name
from nixoci.layering.preferences import Preferences
from nixoci.store.closure import ClosureGraph, PathInfo
from nixoci.store.path import StorePath

#: A layer of nothing larger than this part of the image is one of small paths.
_SMALL = 100

#: Causes explain a layer if they are behind more than this part of its changes, those by themselves
#: of single paths not counted.
_MOST = 0.5

#: Pairs of a cause and a path that are looked at for one layer.
_WORK = 300_000

#: At most so many names are given, since more are read by nobody.
_NAMES = 3


@dataclass(frozen=True)
class Dependencies:
    """What changes with what in an image; sets of triggers as in `layering.cost_model`.

    :param graph: closed.
    :param own: the bit of each path.
    :param reach: the triggers of each path.
    :param by_place: the paths in the order of their bits.
    :param referrers: what references each path, itself excepted.
    :param roots: what nothing references.
    """

    graph: ClosureGraph
    own: Mapping[StorePath, int]
    reach: Mapping[StorePath, int]
    by_place: Sequence[StorePath]
    referrers: Mapping[StorePath, Sequence[StorePath]]
    roots: frozenset[StorePath]
    rate: Callable[[int], int]
    all_rates: int

    @classmethod
    def of(cls, graph: ClosureGraph, preferences: Preferences = Preferences()) -> Dependencies:
        """:raises InvalidInputError: as `cost_model`."""
        referenced = {r for path, info in graph.items() for r in info.references if r != path}
        # What a layer target ignores is not in it, and changes it all the same.
        outside = ClosureGraph(PathInfo(path, "", 0, ()) for path in referenced - graph.keys())
        graph = graph.union(outside)
        model = cost_model(graph, preferences)
        reach = dict(zip(model.paths, model.triggers))
        own = {}
        referrers: dict[StorePath, list[StorePath]] = {path: [] for path in graph}
        for path, info in graph.items():
            below = 0
            for reference in info.references:
                if reference != path:
                    below |= reach[reference]
                    referrers[reference].append(path)
            own[path] = reach[path] & ~below
        by_place = sorted(own, key=lambda path: own[path].bit_length())
        roots = frozenset(path for path in graph if path not in referenced)
        return cls(graph, own, reach, by_place, referrers, roots, model.rate, model.all_rates)

    def triggers(self, paths: Iterable[StorePath]) -> int:
        """Returns the triggers of a layer that holds `paths`."""
        mask = 0
        for path in paths:
            mask |= self.reach[path]
        return mask

    def share(self, triggers: int) -> float:
        """Returns the part of all events that triggers have, 0 to 1."""
        return self.rate(triggers) / self.all_rates if self.all_rates else 0.0

    def among(self, triggers: int) -> list[StorePath]:
        """Returns the paths that are triggers."""
        return [self.by_place[place] for place in _ones(triggers)]

    def topmost(self, triggers: int) -> list[StorePath]:
        """Returns those paths among triggers that no other of them depends on.

        :param triggers: with all that they depend on.
        """
        among = dict.fromkeys(self.among(triggers))
        return [path for path in among if not any(r in among for r in self.referrers[path])]


def reason(members: Sequence[StorePath], dependencies: Dependencies, image_size: int) -> str:
    """Returns why paths share a layer, for somebody who looks at it.

    :param image_size: bytes, which tells what is small.
    """
    if not members:
        return "empty"
    roots = [path for path in members if path in dependencies.roots]
    if len(roots) == len(members):
        return f"only {_names(roots)}, which nothing else needs"
    if len(members) == 1:
        return f"{_names(members)} alone"
    if roots:
        return f"{_names(roots)}, which nothing else needs, and {_what_for(members, roots, dependencies)}"
    sizes = [dependencies.graph[path].nar_size for path in members]
    small = "small paths that " if max(sizes) * _SMALL <= image_size else ""
    common = dependencies.reach[members[0]]
    for path in members:
        common &= dependencies.reach[path]
    every = dependencies.triggers(members)
    if common:
        causes = dependencies.topmost(common)
        with_them = f"all change with {_names(causes)}"
        own = sum(dependencies.own[path] for path in members if not dependencies.own[path] & common)
        if dependencies.rate(common) <= _MOST * dependencies.rate(every & ~own):
            others = _covering(members, every & ~own & ~common, dependencies)
            return f"{small}{with_them}, and some with {_names(others)}"
        inside = [path for path in causes if path in set(members)]
        if inside and len(inside) == len(causes):
            return f"{small}{with_them}, which {'is' if len(inside) == 1 else 'are'} among them"
        return f"{small}{with_them}"
    if all(dependencies.reach[path] == dependencies.own[path] for path in members):
        return f"{small or 'paths that '}depend on nothing else"
    return f"{small or 'paths that '}change with {_names(_covering(members, every, dependencies))}"


def _what_for(
    members: Sequence[StorePath], roots: Sequence[StorePath], dependencies: Dependencies
) -> str:
    """Returns what the paths beside roots are to these."""
    others = [path for path in members if path not in dependencies.roots]
    needed = dependencies.triggers(roots)
    if not all(dependencies.own[path] & needed for path in others):
        return f"{_paths(len(others))} that others need"
    only = "only " if _only_needed_by(others, members, dependencies) else ""
    return f"{_paths(len(others))} that {only}{'it needs' if len(roots) == 1 else 'they need'}"


def _only_needed_by(
    paths: Sequence[StorePath], members: Sequence[StorePath], dependencies: Dependencies
) -> bool:
    """Returns whether nothing outside of a layer references paths in it."""
    inside = set(members)
    return all(inside.issuperset(dependencies.referrers[path]) for path in paths)


def _covering(
    members: Sequence[StorePath], triggers: int, dependencies: Dependencies
) -> list[StorePath]:
    """Returns few of the triggers that most bytes of the members change with, the greatest first."""
    graph, reach = dependencies.graph, dependencies.reach
    candidates = dependencies.among(triggers)
    # What few paths reference is behind few changes; this bounds the work in a large image.
    candidates.sort(key=lambda path: (-len(dependencies.referrers[path]), path))
    del candidates[max(20, _WORK // len(members)) :]
    mask = sum(dependencies.own[cause] for cause in candidates)
    causes = {path: dependencies.among(reach[path] & mask) for path in dict.fromkeys(members)}
    behind: Counter[StorePath] = Counter()
    for path, its_causes in causes.items():
        behind.update(dict.fromkeys(its_causes, graph[path].nar_size))
    found: list[StorePath] = []
    while causes and candidates and len(found) < _NAMES:
        # Of causes that come to the same, the one that says most: all that it needs is implied.
        most = max(behind[cause] for cause in candidates)
        best = max(
            (cause for cause in candidates if behind[cause] == most),
            key=lambda cause: (dependencies.rate(reach[cause]), cause.name),
        )
        followers = [path for path, its_causes in causes.items() if best in its_causes]
        if not followers:
            break
        found.append(best)
        for path in followers:
            behind.subtract(dict.fromkeys(causes.pop(path), graph[path].nar_size))
    return found


def _ones(mask: int) -> Iterator[int]:
    """Yields the places of the ones in an integer."""
    digits = bin(mask)[:1:-1]
    place = digits.find("1")
    while place >= 0:
        yield place
        place = digits.find("1", place + 1)


def _names(paths: Iterable[StorePath]) -> str:
    names = list(dict.fromkeys(package_name(path) for path in sorted(paths, key=lambda p: p.name)))
    if len(names) > _NAMES:
        return f"{', '.join(names[:_NAMES])} and {len(names) - _NAMES} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _paths(number: int) -> str:
    return f"{number} path{'' if number == 1 else 's'}"
