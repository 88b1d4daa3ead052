"""How long an answer may take and how large it may be, and how slowly a request may be taken."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any, Union

#: Bytes until the last header: of a CONNECT, and of all answers 1xx that precede the answer.
LARGEST_HEAD = 1 << 18

#: So many bytes of a body must be sent or taken in the time limit, or all that is left of it.
PORTION = 1 << 18


class EndlessAnswerError(http.client.HTTPException):
    """The other side sends more than any answer has."""


class BoundedResponse(http.client.HTTPResponse):
    """An answer that ends, whatever the other side sends, and however slowly.

    Python's own limits a line, and waits anew for each byte.

    :param seconds: until all of the head is there.
    """

    def __init__(
        self, opened: socket.socket, *arguments: Any, seconds: float, **named: Any
    ) -> None:
        self._bounds = _BoundedReader(opened)
        self.allow(seconds, LARGEST_HEAD)
        # Of a socket it uses this one method.
        super().__init__(self._bounds, *arguments, **named)  # type: ignore[arg-type]

    def allow(self, seconds: float, size: int) -> None:
        """Sets how long what is read from now on may take, and how many bytes may come in."""
        self._bounds.allow(seconds, size)


class _BoundedReader(io.RawIOBase):
    """What comes in through a socket.

    :raises EndlessAnswerError: and `socket.timeout`, when it is read beyond what is allowed.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        # A connection may be closed before its last answer is read; this keeps it open.
        self._raw = opened.makefile("rb", buffering=0)

    def allow(self, seconds: float, size: int) -> None:
        self._deadline = time.monotonic() + seconds
        self._bytes_left = size

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        if self._bytes_left <= 0:
            raise EndlessAnswerError
        _set_timeout(self._socket, self._deadline - time.monotonic())
        count = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        self._bytes_left -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class BodySender:
    """Sends the body of a request.

    What makes the bytes may take its time; only waiting for the other side counts.

    :param seconds: in which each `PORTION` of bytes must be taken.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next_portion()

    def send(self, opened: socket.socket, data: Union[bytes, memoryview]) -> None:
        """Sends all of `data`.

        :raises socket.timeout: it is taken too slowly.
        """
        rest = memoryview(data)
        while rest:
            started = time.monotonic()
            _set_timeout(opened, self._seconds_left)
            sent = opened.send(rest[: self._bytes_left])
            rest = rest[sent:]
            self._seconds_left -= time.monotonic() - started
            self._bytes_left -= sent
            if not self._bytes_left:
                self._next_portion()

    def _next_portion(self) -> None:
        self._seconds_left = self._seconds
        self._bytes_left = PORTION


def _set_timeout(opened: socket.socket, seconds: float) -> None:
    if seconds <= 0:
        raise socket.timeout("timed out")
    opened.settimeout(seconds)
