"""Parts of a blob: the `Range` header of a request, and the cutting of a stream to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Optional

#: One range (RFC 9110, section 14.1.2). More digits than this are no size of anything.
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class UnsatisfiableRangeError(Exception):
    """The range begins after the end; the server's answer is then 416."""


@dataclass(frozen=True)
class ByteRange:
    """The bytes from `start` up to and without `end`; there is at least one."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


def parse_range(header: Optional[str], size: int) -> Optional[ByteRange]:
    """Returns the part of `size` bytes that a `Range` header asks for.

    :returns: None for no header, and for one that may be ignored (RFC 9110, section 14.2): another
        unit, several ranges, or no valid range. The answer is the whole then.
    :raises UnsatisfiableRangeError: no byte of the range exists.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        # The last so many bytes.
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), int(match[2]) + 1 if match[2] else size
        if match[2] and end <= start:
            return None
    end = min(end, size)
    if start >= end:
        raise UnsatisfiableRangeError
    return ByteRange(start, end)


class RangeSentError(Exception):
    """All of a range was passed on, and nothing that follows it in the stream is needed."""


class RangeSink:
    """Passes on what is in a range of a stream that comes piece by piece, and drops the rest.

    A layer is verified when its stream ends, so the piece with the last byte of the stream waits for
    `finish`: nobody has all of a layer before it is known to be right. A range that ends earlier ends
    the stream; the client has no more of it than it would have of a layer that turns out to be wrong.

    :param size: bytes of the whole stream.
    :param write: takes a piece; it has used it when it returns.
    :param dropped: is called for each piece of which nothing is passed on.
    """

    def __init__(
        self,
        part: ByteRange,
        size: int,
        write: Callable[[memoryview], object],
        dropped: Callable[[], object] = lambda: None,
    ) -> None:
        self._part = part
        self._size = size
        self._write = write
        self._dropped = dropped
        self._position = 0
        self._last = b""

    def write(self, data: object) -> None:
        """Takes the next piece of the stream.

        :raises RangeSentError: no other piece is needed.
        """
        view = memoryview(data)  # type: ignore[arg-type]
        begin = self._position
        self._position += len(view)
        start = max(self._part.start, begin)
        end = min(self._part.end, self._position)
        if start >= end:
            self._dropped()
            return
        piece = view[start - begin : end - begin]
        if end == self._size:
            # The caller uses its buffer again.
            self._last = bytes(piece)
            return
        self._write(piece)
        if end == self._part.end:
            raise RangeSentError

    def finish(self) -> None:
        """Passes on the end of the stream, when all of it has proved to be right."""
        self._write(memoryview(self._last))
