"""Installed distributions → those that are worth a layer of their own.

What changes in a layer is pushed and pulled with all else that is in it. Of a set of distributions with
sizes S_i and rates of change r_i, an update of one of them moves all; with one of them apart it moves that
one or all others. The difference, of what one update is expected to move, is

    (S_i * (R - r_i) + (S - S_i) * r_i) / R        with S, R: sums of sizes and rates
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layering.cost.model import RATE_UNIT
from nixoci.layering.preferences import require_rate
from nixoci.recipe.globs import matches_shell_pattern

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

#: How many distributions of an application have layers of their own at most.
MOST_APART = 3

#: Bytes that a layer of its own must be expected to save with each update: below that, its requests to
#: the registry, and one layer more in each container, weigh more.
APART_BYTES = 8 << 20


@dataclass(frozen=True)
class DistributionSize:
    """:param name: such as `numpy`.
    :param size: of its files in bytes.
    """

    name: str
    version: str
    size: int


@dataclass(frozen=True)
class Apart:
    """:param saved: bytes that an update is expected to move less, with this layer.
    """

    name: str
    saved: int


def distributions_apart(
    distributions: Sequence[DistributionSize],
    most: int = MOST_APART,
    rates: Sequence[tuple[str, float]] = (),
) -> tuple[Apart, ...]:
    """Returns the distributions that get layers of their own: what saves most comes first.

    :param rates: as in `nixoci.layering.preferences`, of names such as `numpy` and `numpy-2.1.0`.
    :raises InvalidInputError: a rate or a pattern is none.
    """
    rest = sorted(distributions, key=lambda one: (one.name, one.version))
    rate = {one: _rate(one, rates) for one in rest}
    found: list[Apart] = []
    while len(found) < most and len(rest) > 1:
        sizes = sum(one.size for one in rest)
        all_rates = sum(rate[one] for one in rest)
        saved = [
            (one.size * (all_rates - rate[one]) + (sizes - one.size) * rate[one]) // all_rates
            for one in rest
        ]
        best = max(range(len(rest)), key=lambda index: (saved[index], -index))
        if saved[best] < APART_BYTES:
            break
        found.append(Apart(rest.pop(best).name, saved[best]))
    return tuple(found)


def _rate(one: DistributionSize, rates: Sequence[tuple[str, float]]) -> int:
    for pattern, rate in rates:
        require_rate(pattern, rate)
        if matches_shell_pattern(pattern, one.name, f"{one.name}-{one.version}"):
            return max(1, round(rate * RATE_UNIT))
    return RATE_UNIT
