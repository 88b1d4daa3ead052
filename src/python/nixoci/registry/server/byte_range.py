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


class RangeSink:
    """Passes on what is in a range of a stream that comes piece by piece, and drops the rest.

    The piece with the range's last byte waits for `finish`. A layer is verified when its stream
    ends, so that nobody gets all that was asked for before it is known to be right, not even one
    who asks for the first half only.

    :param write: takes a piece; it has used it when it returns.
    """

    def __init__(self, part: ByteRange, write: Callable[[memoryview], object]) -> None:
        self._part = part
        self._write = write
        self._position = 0
        self._last = b""

    def write(self, data: object) -> None:
        """Takes the next piece of the stream."""
        view = memoryview(data)  # type: ignore[arg-type]
        begin = self._position
        self._position += len(view)
        start = max(self._part.start, begin)
        end = min(self._part.end, self._position)
        if start >= end:
            return
        piece = view[start - begin : end - begin]
        if end == self._part.end:
            # The caller uses its buffer again.
            self._last = bytes(piece)
        else:
            self._write(piece)

    def finish(self) -> None:
        """Passes on the end of the range, when the whole stream has proved to be right."""
        self._write(memoryview(self._last))
