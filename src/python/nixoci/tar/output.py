"""The buffer that a tar stream passes through."""

from __future__ import annotations

import os
from collections.abc import Callable

from nixoci.tar.header import BLOCK_SIZE

#: Large enough that one system call or hash update costs little a byte, small enough for the cache
#: of one core (measured: 128 KiB to 1 MiB are all within a few percent).
BUFFER_SIZE = 256 * 1024

#: Takes a full buffer away and returns the one to fill next (perhaps the same).
Flush = Callable[[memoryview], memoryview]


class SizeChangedError(Exception):
    """A file ends before or after where its metadata says; the caller knows which file it is.

    :param expected: bytes that it should have.
    """

    def __init__(self, expected: int) -> None:
        self.expected = expected
        super().__init__(expected)


class Output:
    """Fills buffers of `BUFFER_SIZE` bytes and hands each on once it is full.

    `view` and `position` are public since the packing loop writes headers and small files straight
    into the buffer; it keeps `position` a multiple of the block size.

    :ivar flush_failed: the last exception came out of `flush`, not from reading the store.
    """

    __slots__ = ("view", "position", "flushed", "flush_failed", "_flush")

    def __init__(self, view: memoryview, flush: Flush) -> None:
        self.view = view
        self.position = 0
        self.flushed = 0
        self.flush_failed = False
        self._flush = flush

    def append(self, data: bytes) -> None:
        """Copies `data` into the stream."""
        end = self.position + len(data)
        if end <= BUFFER_SIZE:
            self.view[self.position : end] = data
            self.position = end
            return
        done = 0
        while done < len(data):
            start = self._start_of_room()
            end = min(start + len(data) - done, BUFFER_SIZE)
            self.view[start:end] = data[done : done + end - start]
            done += end - start
            self.position = end

    def copy(self, descriptor: int, size: int) -> None:
        """Copies the contents of an open file, padded to a whole block.

        :raises SizeChangedError: it does not have exactly `size` bytes from its position on.
        """
        left = size
        while left:
            start = self._start_of_room()
            count = os.readv(descriptor, [self.view[start : min(start + left, BUFFER_SIZE)]])
            if not count:
                raise SizeChangedError(size)
            left -= count
            self.position = start + count
        if os.read(descriptor, 1):
            raise SizeChangedError(size)
        self.append(bytes(-size % BLOCK_SIZE))

    def _start_of_room(self) -> int:
        """Returns the position, after handing the buffer on if it is full.

        A buffer waits until there is more, so the end of the stream never leaves through `flush`.
        """
        if self.position == BUFFER_SIZE:
            try:
                self.view = self._flush(self.view)
            except BaseException:
                self.flush_failed = True
                raise
            self.flushed += BUFFER_SIZE
            self.position = 0
        return self.position
