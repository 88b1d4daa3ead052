"""Threads that do the work of a push, and stop together when a part of it fails."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Sequence, TypeVar, Union

from nixoci.registry.errors import PushCancelledError

#: Questions that are asked at the same time; they cost a registry little.
PARALLEL_QUESTIONS = 8

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
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
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


def _raise_first(futures: set[Future[Any]]) -> None:
    for future in futures:
        error = future.exception()
        if error is not None and not isinstance(error, PushCancelledError):
            raise error
