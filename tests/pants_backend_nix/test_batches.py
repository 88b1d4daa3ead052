"""Tests of `pants_backend_nix.rules.core.batches`."""

from __future__ import annotations

import threading

import pytest

from pants_backend_nix.rules.core.batches import Batches, UnderWay, named


def test_those_who_come_in_time_are_in_one_batch() -> None:
    batches = Batches()
    assert [batches.join(1, "group", key, key.upper()) for key in "abc"] == [0, 0, 0]
    assert batches.size(1, "group", 0) == 3
    assert batches.close(1, "group", 0) == {"a": "A", "b": "B", "c": "C"}


def test_those_who_come_later_are_in_the_next() -> None:
    batches = Batches()
    batches.join(1, "group", "a", "A")
    batches.close(1, "group", 0)
    assert batches.join(1, "group", "b", "B") == 1
    # A batch that is asked for again is the same one.
    assert batches.close(1, "group", 0) == {"a": "A"}
    assert batches.close(1, "group", 1) == {"b": "B"}


def test_who_has_joined_stays() -> None:
    """A rule that runs again finds what was done for it."""
    batches = Batches()
    batches.join(1, "group", "a", "A")
    batches.close(1, "group", 0)
    assert batches.join(1, "group", "a", "A") == 0
    assert batches.join(1, "group", "b", "B") == 1


def test_groups_and_sessions_are_apart() -> None:
    batches = Batches()
    batches.join(1, "one", "a", "A")
    assert batches.join(1, "other", "a", "B") == batches.join(2, "one", "a", "C") == 0
    assert batches.close(1, "one", 0) == {"a": "A"}
    assert batches.close(1, "other", 0) == {"a": "B"}
    assert batches.close(2, "one", 0) == {"a": "C"}


def test_old_sessions_are_forgotten() -> None:
    batches = Batches()
    for session in range(100):
        batches.join(session, "group", "a", session)
    assert batches.close(99, "group", 0) == {"a": 99}
    with pytest.raises(IndexError):
        batches.close(1, "group", 0)


def test_threads() -> None:
    """Nobody is lost, and nobody is in two batches."""
    batches = Batches()

    def join(thread: int) -> None:
        for number in range(200):
            key = f"{thread}.{number}"
            batches.close(1, "group", batches.join(1, "group", key, key))

    threads = [threading.Thread(target=join, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count, seen = batches.join(1, "group", "last", ""), []
    for number in range(count):
        seen += batches.close(1, "group", number)
    assert len(seen) == len(set(seen)) == 1600


@pytest.mark.parametrize(
    "count, expected",
    (
        (1, "Build a:0"),
        (3, "Build a:0, a:1, a:2"),
        (4, "Build a:0, a:1, a:2, a:3"),
        (5, "Build a:0, a:1, a:2 and 2 more"),
    ),
)
def test_descriptions(count: int, expected: str) -> None:
    assert named("Build", [f"a:{number}" for number in reversed(range(count))]) == expected


def test_who_is_under_way() -> None:
    """Also several at once, and who fails on the way."""
    under_way = UnderWay()
    assert not under_way
    with under_way:
        with pytest.raises(ValueError, match="why"), under_way:
            raise ValueError("why")
        assert under_way
    assert not under_way
