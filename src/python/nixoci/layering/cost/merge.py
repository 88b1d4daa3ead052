"""Merges groups until they fit into a number of layers, always the two for which it is cheapest."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layering.cost.model import CostModel

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AbstractSet, Iterable, Iterator, Sequence


@dataclass(frozen=True)
class Layer:
    """A set of units: paths or groups of paths that stay together.

    :param members: bits of the units.
    :param triggers: bits of what changes it, see `nixoci.layering.cost.model`.
    :param size: bytes.
    :param rate: how often it changes.
    :param cost: what it costs, see `Costs`.
    """

    members: int
    triggers: int
    size: int
    rate: int
    cost: int


@dataclass(frozen=True)
class Costs:
    """Makes layers and says what they cost.

    :param stored: the members of layers whose blobs a registry has.
    :param now: how much a byte that has to be pushed now counts, as a rate. 0 where nothing is
        stored, and all splits push the same now.
    """

    model: CostModel
    stored: AbstractSet[int] = frozenset()
    now: int = 0

    def layer(self, members: int, triggers: int, size: int) -> Layer:
        """Returns a layer of these members, with its rate and cost."""
        rate = self.model.rate(triggers)
        cost = size * rate + self.model.layer_cost
        if self.now and members not in self.stored:
            cost += size * self.now
        return Layer(members, triggers, size, rate, cost)

    def joined(self, one: Layer, other: Layer) -> Layer:
        """Returns one layer of two."""
        return self.layer(
            one.members | other.members, one.triggers | other.triggers, one.size + other.size
        )

    def rise(self, one: Layer, other: Layer) -> int:
        """Returns how much more two layers cost when they are one."""
        size = one.size + other.size
        cost = size * self.model.rate(one.triggers | other.triggers) + self.model.layer_cost
        if self.now and one.members | other.members not in self.stored:
            cost += size * self.now
        return cost - one.cost - other.cost

    def least_rise(self, one: Layer, other: Layer) -> int:
        """Returns a lower bound of `rise`, without counting triggers."""
        if one.rate <= other.rate:
            rise = one.size * (other.rate - one.rate)
        else:
            rise = other.size * (one.rate - other.rate)
        if self.now:
            # At most, the two have to be pushed now and what they are together has not.
            rise -= (one.size + other.size) * self.now
        return rise - self.model.layer_cost


def units_of(model: CostModel, groups: Iterable[Sequence[int]], costs: Costs) -> list[Layer]:
    """Returns each group as a layer of its own."""
    units = []
    for number, places in enumerate(groups):
        triggers = 0
        for place in places:
            triggers |= model.triggers[place]
        size = sum(model.sizes[place] for place in places)
        units.append(costs.layer(1 << number, triggers, size))
    return units


def merge(layers: Sequence[Layer], max_layers: int, costs: Costs) -> list[Layer]:
    """Merges layers while they are too many or it saves something.

    The result depends on the order of `layers` only where two choices cost the same.
    """
    for state in merging(layers, costs):
        if len(state.layers) <= max_layers and state.rise >= 0:
            break
    return list(state.layers)


@dataclass(frozen=True)
class State:
    """Layers on their way to become one.

    :param rise: what the next merge costs more; 0 if there is none.
    """

    layers: tuple[Layer, ...]
    rise: int


def merging(layers: Sequence[Layer], costs: Costs) -> Iterator[State]:
    """Yields `layers`, and what they are after each merge of the cheapest pair, down to one."""
    slots: list[Layer] = list(layers)
    alive = dict.fromkeys(range(len(slots)))
    rises: dict[tuple[int, int], int] = {}
    partners: dict[int, tuple[int, int]] = {}

    def partner(slot: int, others: Iterable[int]) -> tuple[int, int]:
        """Returns how much the cheapest merge costs more, and with what it is; -1: with nothing."""
        mine = slots[slot]
        best, found = 0, -1
        for other in others:
            rise = rises.get((slot, other))
            if rise is None:
                layer = slots[other]
                if found >= 0 and costs.least_rise(mine, layer) >= best:
                    continue
                rise = rises[slot, other] = costs.rise(mine, layer)
            if found < 0 or rise < best:
                best, found = rise, other
        return best, found

    # Each pair once: a slot looks for its partner among those before it.
    for slot in alive:
        partners[slot] = partner(slot, range(slot))
    while len(alive) > 1:
        rise, slot = min((partners[slot][0], slot) for slot in alive if partners[slot][1] >= 0)
        other = partners[slot][1]
        yield State(tuple(slots[slot] for slot in alive), rise)
        new = len(slots)
        slots.append(costs.joined(slots[slot], slots[other]))
        for gone in (slot, other):
            del alive[gone], partners[gone]
        for later in alive:
            if partners[later][1] in (slot, other):
                partners[later] = partner(later, (s for s in alive if s < later))
        partners[new] = partner(new, alive)
        alive[new] = None
    yield State(tuple(slots[slot] for slot in alive), 0)
