"""A stream that is compressed while it is made: in several threads, in order, in constant memory."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from nixoci.compression.compressor import find_compressor
from nixoci.compression.seek_table import seek_table
from nixoci.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Callable, Optional

    from nixoci.compression.formats import Compression

#: More threads would help only where a single large layer is compressed on its own.
_MOST_THREADS = 8


def default_threads() -> int:
    """Returns the number of threads that compress where nobody says otherwise."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:
        processors = os.cpu_count() or 1
    return min(processors, _MOST_THREADS)


class CompressedStream:
    """Takes a stream part by part and hands on what it becomes, frame by frame; a context manager.

    The compressors are C libraries that leave the interpreter to other threads, so this thread goes
    on making the stream. Only a few more chunks than threads are in memory.

    :param emit: takes the compressed stream part by part.
    :param threads: change no byte.
    :raises CompressorError: the compressor is not here.
    """

    def __init__(
        self,
        compression: Compression,
        emit: Callable[[bytes], object],
        *,
        threads: Optional[int] = None,
    ) -> None:
        self._compress = find_compressor(compression)
        self._chunk_size = compression.chunk_size
        self._with_seek_table = compression.format == "zstd"
        self._emit = emit
        threads = threads or default_threads()
        self._executor = ThreadPoolExecutor(threads)
        # One is filled here while another one waits to be written.
        self._most_waiting = threads + 2
        self._waiting: deque[tuple[bytearray, Future[bytes]]] = deque()
        self._unused: list[bytearray] = []
        self._chunk = bytearray(self._chunk_size)
        self._filled = 0
        self._hash = sha256()
        self._frames: list[tuple[int, int]] = []

    def __enter__(self) -> CompressedStream:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        for _, future in self._waiting:
            future.cancel()
        self._executor.shutdown()

    @property
    def digest(self) -> str:
        """The digest of what was written so far, uncompressed: `sha256:<hex>`."""
        return f"sha256:{self._hash.hexdigest()}"

    @property
    def size(self) -> int:
        """The bytes of what is finished, uncompressed."""
        return sum(uncompressed for _, uncompressed in self._frames)

    def write(self, part: memoryview) -> None:
        """Takes the next part of the stream; what `emit` raises comes out unchanged."""
        self._hash.update(part)
        done = 0
        while done < len(part):
            if self._filled == self._chunk_size:
                self._submit()
            count = min(len(part) - done, self._chunk_size - self._filled)
            self._chunk[self._filled : self._filled + count] = part[done : done + count]
            self._filled += count
            done += count

    def finish(self) -> None:
        """Takes the end of the stream."""
        if self._filled:
            del self._chunk[self._filled :]
            self._submit()
        while self._waiting:
            self._emit_first()
        if self._with_seek_table:
            self._emit(seek_table(self._frames))

    def _submit(self) -> None:
        self._waiting.append((self._chunk, self._executor.submit(self._compress, self._chunk)))
        if len(self._waiting) == self._most_waiting:
            self._emit_first()
        self._chunk = self._unused.pop() if self._unused else bytearray(self._chunk_size)
        self._filled = 0

    def _emit_first(self) -> None:
        chunk, future = self._waiting.popleft()
        frame = future.result()
        self._frames.append((len(frame), len(chunk)))
        self._emit(frame)
        if len(chunk) == self._chunk_size:
            self._unused.append(chunk)
