"""Brings a large closure down to a few hundred groups that are hardly worth taking apart.

To compare all pairs of 10,000 paths takes too long. But most paths of a large closure are small,
and two kinds of neighbours are nearly as good as the best partner that there is:

- what references a path. Its triggers include those of the path, so it loses nothing by taking the
  path in; the path alone is then pushed more often.
- a path with the same *main reference*, the one that changes most often. Most of the triggers of
  the two are those of what they have in common.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from nixoci.layering.cost.model import CostModel
from nixoci.store.closure import ClosureGraph

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence

#: Up to here, and up to `_most_groups` in larger closures, all pairs are compared. More groups make
#: better splits and take longer.
MAX_GROUPS = 300


def coarse_groups(
    graph: ClosureGraph, model: CostModel, places: Sequence[int], max_groups: int = MAX_GROUPS
) -> tuple[tuple[int, ...], ...]:
    """Returns at most `max_groups` groups of places in `model.paths`.

    :param model: of this graph.
    :param places: those to group, in order.
    """
    if len(places) <= max_groups:
        return tuple((place,) for place in places)
    merging = _Merging(graph, model, places)
    merging.run(min(max_groups, _most_groups(len(places))))
    return merging.groups()


def _most_groups(paths: int) -> int:
    """Returns how many groups are compared with each other; one more path changes it by 1 at most.

    To compare two takes as long as there are paths, so there are fewer groups of more paths.
    """
    return max(160, MAX_GROUPS - (paths - MAX_GROUPS) // 50)


class _Merging:
    """Groups while they merge. A group is known by the place of one of its paths, its head."""

    def __init__(self, graph: ClosureGraph, model: CostModel, pool: Sequence[int]) -> None:
        # From here on, a place is one in the pool.
        self._pool = pool
        places = {model.paths[place]: number for number, place in enumerate(pool)}
        self._rate = model.rate
        self._sizes = [model.sizes[place] for place in pool]
        self._triggers = [model.triggers[place] for place in pool]
        self._rates = [model.rate(mask) for mask in self._triggers]
        self._members = [[number] for number in range(len(pool))]
        # Where a path went, or itself; the last one on the way is the head.
        self._parents = list(range(len(places)))
        self._referrers: list[list[int]] = [[] for _ in places]
        main_reference = [-1] * len(places)
        for path, place in places.items():
            references = [places[r] for r in graph[path].references if r in places and r != path]
            for reference in references:
                self._referrers[reference].append(place)
            if references:
                main_reference[place] = max(references, key=lambda r: (self._rates[r], -r))
        # Rate and head of what `_referrer` found last.
        self._nearest: list[Optional[tuple[int, int]]] = [None] * len(places)
        order = _depth_first(main_reference, self._rates)
        # Neighbours in that order, which are alive.
        self._before = dict(zip(order[1:], order))
        self._after = dict(zip(order, order[1:]))

    def groups(self) -> tuple[tuple[int, ...], ...]:
        alive = (place for place, parent in enumerate(self._parents) if place == parent)
        members = (sorted(self._members[head]) for head in alive)
        return tuple(sorted(tuple(self._pool[number] for number in group) for group in members))

    def run(self, max_groups: int) -> None:
        """Merges what is cheapest until there are `max_groups` groups."""
        count = len(self._parents)
        heap: list[tuple[int, int, int]] = []
        for place in range(count):
            cost, partner = self._partner(place)
            heap.append((cost, place, partner))
        heapify(heap)
        while count > max_groups:
            cost, head, partner = heappop(heap)
            if self._parents[head] != head:
                continue
            # The costs of a group mostly rise, as it and what is around it grow. So an old figure
            # is a lower bound, and is looked at again only when it comes first.
            now, partner = self._partner(head)
            if now > cost:
                heappush(heap, (now, head, partner))
                continue
            self._merge(head, partner)
            count -= 1
            # A partner's old figure in the heap is too low now, and found out when it comes up.

    def _partner(self, head: int) -> tuple[int, int]:
        """Returns what it costs to merge a group with its cheapest partner, and which that is."""
        best = -1
        found = -1
        size, rate, triggers = self._sizes[head], self._rates[head], self._triggers[head]
        for other in (self._referrer(head), self._before.get(head), self._after.get(head)):
            if other is None:
                continue
            other_size, other_rate = self._sizes[other], self._rates[other]
            # Whatever they have in common, what changes less changes as often as the other then.
            if rate <= other_rate:
                least = size * (other_rate - rate)
            else:
                least = other_size * (rate - other_rate)
            if found >= 0 and least >= best:
                continue
            union = triggers | self._triggers[other]
            if union == self._triggers[other] or union == triggers:
                cost = least
            else:
                union_rate = self._rate(union)
                cost = size * (union_rate - rate) + other_size * (union_rate - other_rate)
            if found < 0 or cost < best:
                best, found = cost, other
        return best, found

    def _referrer(self, head: int) -> Optional[int]:
        """Returns the group that references this one and changes least often."""
        known = self._nearest[head]
        if known is not None:
            rate, nearest = known
            # Rates only rise, so what was lowest is so as long as it is what it was.
            if self._parents[nearest] == nearest and self._rates[nearest] == rate:
                return nearest
        parents, rates = self._parents, self._rates
        groups = set()
        for group in self._referrers[head]:
            while parents[group] != group:
                parents[group] = group = parents[parents[group]]
            groups.add(group)
        groups.discard(head)
        # Groups never come apart, so what is in one is looked for once.
        self._referrers[head] = list(groups)
        best = min(((rates[group], group) for group in groups), default=None)
        self._nearest[head] = best
        return best[1] if best else None

    def _merge(self, head: int, into: int) -> None:
        self._sizes[into] += self._sizes[head]
        union = self._triggers[into] | self._triggers[head]
        if union != self._triggers[into]:
            self._triggers[into] = union
            self._rates[into] = self._rate(union)
            # Only a referrer of all of the group takes it in without more triggers, but that of a
            # part of it is no worse a guess than another.
            self._referrers[into].extend(self._referrers[head])
            self._nearest[into] = None
        self._members[into].extend(self._members[head])
        self._parents[head] = into
        before, after = self._before.pop(head, None), self._after.pop(head, None)
        if before is not None:
            if after is None:
                del self._after[before]
            else:
                self._after[before] = after
        if after is not None:
            if before is None:
                del self._before[after]
            else:
                self._before[after] = before


def _depth_first(main_reference: list[int], rates: list[int]) -> list[int]:
    """Returns the places so that those with the same main reference come together, after it."""
    children: dict[int, list[int]] = {}
    for place, reference in enumerate(main_reference):
        children.setdefault(reference, []).append(place)
    for places in children.values():
        places.sort(key=lambda place: (-rates[place], -place))
    # What is at the end of the list comes next: what changes least.
    waiting = children.get(-1, [])
    order = []
    while waiting:
        place = waiting.pop()
        order.append(place)
        waiting.extend(children.get(place, ()))
    return order
