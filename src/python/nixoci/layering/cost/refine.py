"""Improves a split by moves of single units, as long as one saves something.

Merging alone cannot take back what looked cheap early. Two kinds of moves follow it: a unit goes to
another layer; or it gets a layer of its own, for which the two layers are joined that cost least.
"""

from __future__ import annotations

from nixoci.layering.cost.merge import Costs, Layer

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional, Sequence

#: Rounds end by themselves, mostly after three to ten. This is where patience ends.
MAX_ROUNDS = 30

#: A move must save more than one part in so many of the whole cost. Smaller gains are not worth that
#: the split of the next revision may go without them.
LEAST_GAIN = 20_000


def refine(
    units: Sequence[Layer], layers: Sequence[Layer], max_layers: int, costs: Costs
) -> list[Layer]:
    """Returns layers that cost at most what `layers` cost.

    :param units: what may be moved; unit *n* has bit *n* of a layer's members.
    """
    split = _Split(units, layers, max_layers, costs)
    for _ in range(MAX_ROUNDS):
        moved = split.move_units()
        if not split.eject_units() and not moved:
            break
    return split.layers


class _Split:
    """Layers while they change."""

    def __init__(
        self, units: Sequence[Layer], layers: Sequence[Layer], max_layers: int, costs: Costs
    ) -> None:
        self._units = units
        self.layers = list(layers)
        self._max_layers = max_layers
        self._costs = costs
        self._least_gain = sum(layer.cost for layer in layers) // LEAST_GAIN

    def move_units(self) -> bool:
        """Moves each unit to where it costs least; returns whether any was moved."""
        moved = False
        for number, unit in enumerate(self._units):
            source = next(i for i, layer in enumerate(self.layers) if layer.members >> number & 1)
            layer = self.layers[source]
            rest = self._without(layer, number)
            gain = layer.cost - (rest.cost if rest else 0)
            best: Optional[tuple[int, Layer]] = None
            least = self._least_gain
            for target, other in enumerate(self.layers):
                if target == source or gain - self._costs.least_rise(other, unit) <= least:
                    continue
                joined = self._costs.joined(other, unit)
                if gain - (joined.cost - other.cost) > least:
                    least = gain - (joined.cost - other.cost)
                    best = target, joined
            if best:
                target, self.layers[target] = best
                moved = True
                if rest:
                    self.layers[source] = rest
                else:
                    del self.layers[source]
        return moved

    def eject_units(self) -> bool:
        """Gives units layers of their own; returns whether any got one."""
        ejected = False
        while True:
            gain, source, number = max(self._ejections(), default=(0, 0, 0))
            if gain <= self._least_gain:
                return ejected
            layer = self.layers[source]
            rest = self._without(layer, number)
            assert rest is not None, "a unit that is alone is not ejected"
            layers = [*self.layers[:source], *self.layers[source + 1 :], rest, self._units[number]]
            if len(layers) > self._max_layers:
                rise, one, other = self._cheapest_pair(layers)
                if gain - rise <= self._least_gain:
                    return ejected
                layers[one] = self._costs.joined(layers[one], layers[other])
                del layers[other]
            self.layers = layers
            ejected = True

    def _ejections(self) -> Iterator[tuple[int, int, int]]:
        """Yields for each unit that is not alone what its own layer would save, and where it is."""
        for source, layer in enumerate(self.layers):
            for number in _numbers(layer.members):
                rest = self._without(layer, number)
                if rest:
                    unit = self._units[number]
                    yield layer.cost - rest.cost - unit.cost, source, number

    def _cheapest_pair(self, layers: Sequence[Layer]) -> tuple[int, int, int]:
        """Returns how much it costs to join which two."""
        best: Optional[tuple[int, int, int]] = None
        for one, layer in enumerate(layers):
            for other in range(one + 1, len(layers)):
                if best and self._costs.least_rise(layer, layers[other]) >= best[0]:
                    continue
                rise = self._costs.rise(layer, layers[other])
                if best is None or rise < best[0]:
                    best = rise, one, other
        assert best is not None, "there are more than `max_layers` of them"
        return best

    def _without(self, layer: Layer, number: int) -> Optional[Layer]:
        members = layer.members & ~(1 << number)
        if not members:
            return None
        triggers = 0
        for other in _numbers(members):
            triggers |= self._units[other].triggers
        return self._costs.layer(members, triggers, layer.size - self._units[number].size)


def _numbers(members: int) -> Iterator[int]:
    while members:
        lowest = members & -members
        yield lowest.bit_length() - 1
        members ^= lowest
