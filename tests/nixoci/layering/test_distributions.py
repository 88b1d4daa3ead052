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
