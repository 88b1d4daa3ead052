"""What a layer is expected to cost, from the closure graph alone.

A store path changes exactly when something in its closure changes by itself, and then all of the
layer that holds it is pushed and pulled again. So a set of *triggers*, the paths in the closures of
its members, belongs to each layer, and the layer changes as often as any of its triggers does:

    cost of a layer = size in bytes * sum of the rates of its triggers
                      + `LAYER_BYTES` * sum of all rates

This is an expected number of bytes for each event, times the sum of all rates, which is left out
since it is the same for every split. All is computed in integers, so that no machine rounds
differently. A set of triggers is an integer with one bit for each path.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from nixoci.layering.preferences import Preferences, matches
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Optional

#: Bytes that every event moves for a layer that it does not change: the layer's descriptor in the
#: manifest (about 150 bytes) and its diff ID in the image configuration (75), which are new with
#: every image, and what asks the registry whether it has the layer.
LAYER_BYTES = 256

#: The rate of a path about which nothing is known, so that rates of thousandths are integers too.
RATE_UNIT = 1000

#: A name ends where a dash is followed by no letter (`builtins.parseDrvName` of the Nix manual).
_VERSION = re.compile(r"-(?![A-Za-z]).*", re.DOTALL)


@dataclass(frozen=True)
class CostModel:
    """Sizes and triggers of store paths, which are known by their place in `paths`.

    :param paths: in an order that updates change little: by name, and the hash comes last.
    :param sizes: NAR sizes in bytes.
    :param triggers: the bits of the paths in the closure of each.
    :param rate: returns the sum of the rates of triggers.
    :param all_rates: the sum of the rates of all there is.
    """

    paths: tuple[StorePath, ...]
    sizes: tuple[int, ...]
    triggers: tuple[int, ...]
    rate: Callable[[int], int]
    all_rates: int

    @cached_property
    def layer_cost(self) -> int:
        """What a layer costs beside its bytes."""
        return LAYER_BYTES * self.all_rates


#: Part of all events in which what is first-party changes, see `cost_model`.
SHARE_OF_FIRST_PARTY = 0.5


def package_name(path: StorePath) -> str:
    """Returns the name of a store path without its version and what follows that."""
    return _VERSION.sub("", path.name)


def cost_model(graph: ClosureGraph, preferences: Preferences = Preferences()) -> CostModel:
    """Returns the cost model of a closure graph.

    A path changes at the rate that the preferences give it, else at 1. What is *first-party* changes
    most: unless they are given a rate, such paths share one event of two among them, and the rest of
    the graph has the other. Where no path is known to be first-party, the roots are taken for it,
    which nothing references.

    References out of the graph, to what layers below hold, are triggers too: all paths that have
    one change with it.

    :raises InvalidInputError: a pattern of the rates is none, or references form a cycle.
    """
    given = {path: _given_rate(path, preferences) for path in graph}
    paths = _in_stable_order(graph)
    referenced = {r for path, info in graph.items() for r in info.references if r != path}
    outside = sorted(reference for reference in referenced if reference not in graph)
    rates = {path: RATE_UNIT if rate is None else rate for path, rate in given.items()}
    rates.update(dict.fromkeys(outside, RATE_UNIT))
    own = preferences.first_party.intersection(graph) or set(graph) - referenced
    own = {path for path in own if given[path] is None}
    share = sum(rates.values()) // max(1, len(own))
    rates.update(dict.fromkeys(own, share))
    bits, rate = _numbered((*paths, *outside), rates)
    triggers = {path: 1 << bits[path] for path in outside}
    for path in reversed(graph.referrers_first()):
        mask = 1 << bits[path]
        for reference in graph[path].references:
            if reference != path:
                mask |= triggers[reference]
        triggers[path] = mask
    return CostModel(
        paths=paths,
        sizes=tuple(graph[path].nar_size for path in paths),
        triggers=tuple(triggers[path] for path in paths),
        rate=rate,
        all_rates=sum(rates.values()),
    )


def _given_rate(path: StorePath, preferences: Preferences) -> Optional[int]:
    for pattern, rate in preferences.rates:
        if matches(pattern, path):
            # What never changes would make all splits equally cheap.
            return max(1, round(rate * RATE_UNIT))
    return None


def _in_stable_order(graph: ClosureGraph) -> tuple[StorePath, ...]:
    """Returns the paths in an order that decides ties, by name and not by hash.

    With each update the hashes of all that changes are new. If they decided, equal choices would
    fall in another way each time, and layers would be pushed again for nothing.
    """
    names = {path: (package_name(path), path.name) for path in graph}
    count = Counter(names.values())
    neighbours: dict[StorePath, list[list[str]]] = {
        path: [[], []] for path, name in names.items() if count[name] > 1
    }
    # Paths that share a name are told apart by the names around them.
    for path, info in graph.items() if neighbours else ():
        for reference in info.references:
            if path in neighbours:
                neighbours[path][0].append(reference.name)
            if reference in neighbours:
                neighbours[reference][1].append(path.name)
    for lists in neighbours.values():
        for items in lists:
            items.sort()
    return tuple(sorted(graph, key=lambda path: (*names[path], neighbours.get(path, []), path)))


def _numbered(
    paths: tuple[StorePath, ...], rates: Mapping[StorePath, int]
) -> tuple[Mapping[StorePath, int], Callable[[int], int]]:
    """Returns the bit of each path, and what sums up the rates of such bits.

    Bits of equal rates are together, those of the most frequent rate lowest, so it is enough to
    count bits.
    """
    frequency = Counter(rates.values())
    ordered = sorted(paths, key=lambda path: (-frequency[rates[path]], rates[path]))
    ranges = []
    start = 0
    for rate, width in sorted(frequency.items(), key=lambda item: (-item[1], item[0])):
        ranges.append((start, (1 << width) - 1, rate))
        start += width
    count = _bit_counter(len(ordered))
    _, lowest, common = ranges[0] if ranges else (0, 0, 0)
    others = ranges[1:]

    def rate_of(mask: int) -> int:
        total = common * count(mask & lowest)
        for start, width, rate in others:
            bits = mask >> start
            if not bits:
                break
            bits &= width
            if bits:
                total += rate * count(bits)
        return total

    return {path: position for position, path in enumerate(ordered)}, rate_of


def _bit_counter(bits: int) -> Callable[[int], int]:
    """Returns what counts the ones in an integer of at most so many bits."""
    # Since Python 3.10, and many times as fast as all else.
    native: Optional[Callable[[int], int]] = getattr(int, "bit_count", None)
    if native is not None:
        return native
    if bits < 1000 or bits >= 0xFFFF:
        return lambda mask: bin(mask).count("1")
    # Sums of neighbours, of pairs of them and so on, until each 16 bits hold the number of ones in
    # them; the remainder of a division by 2^16 - 1 is the sum of these digits.
    fields = bits // 16 + 1
    one, two, four, eight = (
        sum(pattern << 16 * field for field in range(fields))
        for pattern in (0x5555, 0x3333, 0x0F0F, 0x00FF)
    )

    def count(mask: int) -> int:
        mask -= mask >> 1 & one
        mask = (mask & two) + (mask >> 2 & two)
        mask = mask + (mask >> 4) & four
        return (mask + (mask >> 8) & eight) % 0xFFFF

    return count
