"""Threads that do the work of a push, and stop together when a part of it fails."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Sequence, TypeVar, Union

from nixoci.registry.errors import PushCancelledError

#: Questions that are asked at the same time; they cost a registry little.
PARALLEL_QUESTIONS = 8

#: An upload of so many bytes, or more, is one of as many as there may be at a time. Of smaller ones, which wait for
#: answers most of the time, there may be up to `SMALL_UPLOADS` in the place of each.
LARGE_UPLOAD = 8 << 20
SMALL_UPLOADS = 4

#: Seconds that uploads get to end in good order after another one failed.
_GRACE = 5.0

#: Seconds after which what threads wait for is ended once more.
_AGAIN = 0.5

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


class PushThreads:
    """All threads of one push.

    :param abort: ends what threads wait for, for example on a connection; it may be called several times.
    """

    def __init__(self, abort: Callable[[], object]) -> None:
        self._abort = abort
        self._stop = threading.Event()

    def map(
        self, work: Callable[[_Item], _Found], items: Sequence[_Item], jobs: int
    ) -> list[_Found]:
        """Returns what `work` makes of each item, with some threads.

        :raises: what it raised first; the other items are given up.
        """
        if not items:
            return []
        executor = ThreadPoolExecutor(min(jobs, len(items)))
        futures = [executor.submit(work, item) for item in items]
        try:
            left = set(futures)
            while left:
                # Now and then this thread wakes: a signal that another thread has got does not wake it.
                done, left = wait(futures, timeout=_AGAIN, return_when=FIRST_EXCEPTION)
                _raise_first(done)
            return [future.result() for future in futures]
        except BaseException as error:
            self._stop.set()
            for future in futures:
                future.cancel()
            if isinstance(error, Exception):
                wait(futures, timeout=_GRACE)
            self._abort()
            # What was just about to begin is not ended by that.
            while wait(futures, timeout=_AGAIN).not_done:
                self._abort()
            raise
        finally:
            executor.shutdown()

    def map_by_size(
        self,
        work: Callable[[_Item], _Found],
        items: Sequence[_Item],
        size: Callable[[_Item], int],
        jobs: int,
    ) -> list[_Found]:
        """As `map`, with more threads while they work on what is small.

        :param size: of an item, in bytes.
        :param jobs: large items that are worked on at a time. With one, all come one after the other.
        """
        room = _Room(jobs * LARGE_UPLOAD, self._stop)

        def work_in_turn(item: _Item) -> _Found:
            with room.taken(min(max(size(item), LARGE_UPLOAD // SMALL_UPLOADS), LARGE_UPLOAD)):
                return work(item)

        return self.map(work_in_turn, items, jobs * SMALL_UPLOADS if jobs > 1 else 1)

    def stoppable(self, stream: Callable[[Any], None]) -> Callable[[Any], None]:
        """Makes a stream end, with `PushCancelledError`, when the push is given up."""

        def stream_on(write: Callable[[Union[bytes, memoryview]], object]) -> None:
            def write_on(data: Union[bytes, memoryview]) -> None:
                if self._stop.is_set():
                    raise PushCancelledError()
                write(data)

            stream(write_on)

        return stream_on

    def sleep(self, seconds: float) -> None:
        """Waits, unless the push is given up.

        :raises PushCancelledError: it is.
        """
        if self._stop.wait(seconds):
            raise PushCancelledError()


class _Room:
    """Bytes that may be on their way at a time."""

    def __init__(self, size: int, stop: threading.Event) -> None:
        self._left = size
        self._stop = stop
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Waits until there is so much room, and takes it while the body runs.

        :raises PushCancelledError: the push is given up meanwhile.
        """
        with self._changed:
            while self._left < size and not self._stop.is_set():
                self._changed.wait(_AGAIN)
            if self._stop.is_set():
                raise PushCancelledError()
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


def _raise_first(futures: set[Future[Any]]) -> None:
    for future in futures:
        error = future.exception()
        if error is not None and not isinstance(error, PushCancelledError):
            raise error
