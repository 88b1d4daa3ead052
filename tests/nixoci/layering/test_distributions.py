"""Tests of `nixoci.layering.distributions`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from nixoci.layering.distributions import APART_BYTES, DistributionSize, distributions_apart

_MB = 1 << 20
_SMALL = [DistributionSize(f"small{number}", "1", 100_000) for number in range(20)]


def test_what_is_large_is_apart() -> None:
    """Once it is, what is left is not worth more layers."""
    large = DistributionSize("torch", "2.1", 800 * _MB)
    (found,) = distributions_apart([*_SMALL, large])
    assert found.name == "torch"
    assert found.saved > 700 * _MB


def test_what_changes_often_is_apart() -> None:
    """By its name, or name and version: the others are then left alone."""
    middle = [DistributionSize(name, "1", 12 * _MB) for name in ("a", "b")]
    often = DistributionSize("client", "1.2", 1000)
    for pattern in ("client", "cli*", "client-1.*"):
        names = [one.name for one in distributions_apart([*middle, often], 1, [(pattern, 50.0)])]
        assert names == ["client"]
    assert distributions_apart([*middle, often], 1)[0].name in ("a", "b")


def test_small_ones_stay_together() -> None:
    assert distributions_apart(_SMALL) == ()


def test_one_is_not_apart_from_itself() -> None:
    assert distributions_apart([DistributionSize("torch", "2", 900 * _MB)]) == ()


_SIZES = st.lists(st.integers(0, 10**9), max_size=12)


@given(_SIZES, st.integers(0, 5), st.randoms())
def test_the_order_of_the_input_does_not_count(sizes: list[int], most: int, random) -> None:  # type: ignore[no-untyped-def]
    distributions = [DistributionSize(f"d{n}", "1", size) for n, size in enumerate(sizes)]
    found = distributions_apart(distributions, most)
    random.shuffle(distributions)
    assert distributions_apart(distributions, most) == found
    assert len(found) <= most
    assert all(one.saved >= APART_BYTES for one in found)


def test_the_first_pattern_that_matches_counts() -> None:
    """As for store paths; a distribution changes at least a little, and names have capitals."""
    one, other = DistributionSize("PyYAML", "6", 40 * _MB), DistributionSize("b", "1", 40 * _MB)
    same = distributions_apart([one, other])
    assert distributions_apart([one, other], rates=[("pyyaml", 50.0)]) == same
    assert distributions_apart([one, other], rates=[("Py*", 1.0), ("PyYAML", 50.0)]) == same
    (found,) = distributions_apart([one, other], rates=[("*", 0.0)])
    assert found.saved == same[0].saved


_RATES = st.sampled_from([0.25, 1.0, 4.0, 50.0])


@given(st.lists(st.tuples(st.integers(0, 1 << 32), _RATES), min_size=2, max_size=8))
def test_what_is_apart_saves_most(facts: list[tuple[int, float]]) -> None:
    """Against the bytes that an update is expected to move, summed over what can change."""
    known = [DistributionSize(f"d{number}", "1", size) for number, (size, _) in enumerate(facts)]
    rates = {one.name: rate for one, (_, rate) in zip(known, facts)}
    together = sum(one.size for one in known)

    def saved(alone: DistributionSize) -> float:
        moved = sum(
            rates[one.name] * (alone.size if one is alone else together - alone.size) for one in known
        )
        return together - moved / sum(rates.values())

    found = distributions_apart(known, 1, tuple(rates.items()))
    best = max(map(saved, known))
    assert bool(found) == (int(best) >= APART_BYTES)
    for one in found:
        (alone,) = (known_one for known_one in known if known_one.name == one.name)
        assert abs(one.saved - saved(alone)) <= 2
        assert saved(alone) >= best - 2
