"""Tests of `nixoci.registry.push_threads`: how much is on its way at a time."""

from __future__ import annotations

import threading

import pytest
from nixoci.registry.push_threads import LARGE_UPLOAD, SMALL_UPLOADS, PushThreads

_SECONDS = 20.0


class _Meeting:
    """Work that waits until so many do it at the same time, and notes the most that ever did."""

    def __init__(self, expected: int) -> None:
        self._barrier = threading.Barrier(expected)
        self._lock = threading.Lock()
        self._now = self.most = 0

    def __call__(self, size: int) -> int:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self._barrier.wait(_SECONDS)
        with self._lock:
            self._now -= 1
        return size


def _threads() -> PushThreads:
    return PushThreads(lambda: None)


@pytest.mark.parametrize(
    "size, jobs, expected",
    [
        (LARGE_UPLOAD, 4, 4),
        (LARGE_UPLOAD * 1000, 4, 4),
        (0, 4, 4 * SMALL_UPLOADS),
        (1000, 2, 2 * SMALL_UPLOADS),
        (LARGE_UPLOAD // 2, 4, 8),
        (0, 1, 1),
        (LARGE_UPLOAD, 1, 1),
    ],
)
def test_as_many_as_there_may_be(size: int, jobs: int, expected: int) -> None:
    """All of these are at work at once, and never more. The results are in the order of the items."""
    meeting = _Meeting(expected)
    items = [size + number for number in range(3 * expected)] if size < 1000 else [size] * (3 * expected)
    assert _threads().map_by_size(meeting, items, lambda item: size, jobs) == items
    assert meeting.most == expected


def test_small_ones_beside_large_ones() -> None:
    """What three large ones leave is room for four small ones."""
    meeting = _Meeting(3 + SMALL_UPLOADS)
    items = [LARGE_UPLOAD] * 3 + [0] * SMALL_UPLOADS
    assert _threads().map_by_size(meeting, items, lambda item: item, 4) == items
    assert meeting.most == 3 + SMALL_UPLOADS


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_that_fails_ends_those_that_wait(jobs: int) -> None:
    """Neither those that wait for room nor those that wait for a thread begin, and its error is the one that is told."""
    begun: list[int] = []
    threads = _threads()

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("the first one")
        threads.sleep(_SECONDS)

    with pytest.raises(ValueError, match="the first one"):
        threads.map_by_size(work, range(50), lambda _: LARGE_UPLOAD, jobs)
    assert 0 in begun and len(begun) <= jobs + 1
