"""What a user may say about a split: how often packages change, what was pushed before, groups."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.recipe.globs import matches_shell_pattern
from nixoci.store.path import StorePath

#: What changes a million times as often as others is in each event already.
MOST_RATE = 1_000_000


@dataclass(frozen=True)
class Preferences:
    """Facts beside the closure graph that a strategy may use; each strategy says which it does.

    :param rates: pairs of a shell pattern and how often a store path that it matches changes by
        itself, compared with 1 for a path that no pattern matches. A pattern is matched against
        the path and against its name; the first that matches counts.
    :param previous: the store paths of the layers of an earlier build, of which a registry has the
        blobs. Empty: nothing is known.
    :param groups: shell patterns, as in `rates`; what a group matches shares a layer.
    :param first_party: the paths that are built from the user's own sources.
    :raises InvalidInputError: a rate is none, see `require_rate`.
    """

    rates: tuple[tuple[str, float], ...] = ()
    previous: tuple[tuple[StorePath, ...], ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    first_party: frozenset[StorePath] = frozenset()

    def __post_init__(self) -> None:
        for pattern, rate in self.rates:
            require_rate(pattern, rate)


def require_rate(pattern: str, rate: object) -> None:
    """:raises InvalidInputError: no rate of change: a number from 0 to `MOST_RATE`."""
    is_number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
    if not is_number or not 0 <= rate <= MOST_RATE:  # type: ignore[operator]
        raise InvalidInputError(
            f"rate of {pattern}", rate, f"expected a number from 0 on, and at most {MOST_RATE}"
        )


def matches(pattern: str, path: StorePath) -> bool:
    """Returns whether a shell pattern matches a store path or its name."""
    return matches_shell_pattern(pattern, path.name, path)
