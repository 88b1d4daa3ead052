"""Ending a server on SIGINT and SIGTERM as a success: it was asked to end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Optional


class StopSignals:
    """Context in which both signals only end `wait`. For the main thread."""

    def __enter__(self) -> StopSignals:
        self._stopped = threading.Event()
        self._previous: dict[int, Any] = {
            number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def wait(self) -> None:
        """Returns after the first of the signals."""
        self._stopped.wait()

    def _stop(self, number: int, _: Optional[FrameType]) -> None:
        self._stopped.set()
