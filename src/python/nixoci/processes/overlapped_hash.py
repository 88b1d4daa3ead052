"""SHA-256 of a stream while the next part of it is being made, on a second core.

The process that makes the stream forks one that hashes it. The bytes go through memory that both
share, so none is copied; two pipes carry who may touch which buffer.
"""

from __future__ import annotations

import _thread
import gc
import os
import struct

from nixoci.errors import NixOciError
from nixoci.sha256 import sha256
from nixoci.tar.output import BUFFER_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash
    from types import TracebackType
    from typing import Optional

#: Buffers between the two processes: enough that neither waits while the other has slow files.
_BUFFERS = 16

#: Buffers that are filled before the fork: what is smaller is hashed sooner than a process starts.
_BEFORE_FORK = 4

#: Length of one filled buffer; 0 asks for the digest. Pipes pass on 4 bytes in one piece.
_MESSAGE = struct.Struct("=I")
_DIGEST_SIZE = 32


class HashProcessError(NixOciError):
    """The process that hashes a stream ended before it was done (killed, perhaps for lack of
    memory).

    :param status: as `os.waitpid` gives it, or None if it could not be learned.
    """

    def __init__(self, status: Optional[int]) -> None:
        self.status = status
        super().__init__(f"The process that hashes a layer {describe_status(status)}.")


def describe_status(status: Optional[int]) -> str:
    """Says how a process ended; `status` as `os.waitpid` gives it."""
    if status is None:
        return "ended unexpectedly"
    if os.WIFSIGNALED(status):
        return f"was killed by signal {os.WTERMSIG(status)}"
    return f"ended unexpectedly with exit status {os.WEXITSTATUS(status)}"


def end_process(process: int, *, kill: bool) -> Optional[int]:
    """Waits for a child, killed first if `kill`; returns its status, None if it cannot be learned."""
    try:
        if kill:
            from signal import SIGKILL

            # One that died stays dead, and its number is its own until it is waited for.
            os.kill(process, SIGKILL)
        return os.waitpid(process, 0)[1]
    except (ProcessLookupError, ChildProcessError):
        # The program that runs us ignores SIGCHLD, so the kernel has reaped the child.
        return None


def may_fork() -> bool:
    """Whether this process has one thread: a fork copies the locks of others in whatever state."""
    return hasattr(os, "fork") and _thread._count() == 0


class OverlappedSha256:
    """Hashes buffers that are filled one after the other; a context manager.

    :param overlap: False hashes everything in this process.
    :ivar buffer: the first buffer to fill.
    :ivar process: the process that hashes, 0 while there is none.
    """

    def __init__(self, *, overlap: bool = True) -> None:
        self._overlap = overlap and may_fork()
        # Most layers end before there is a second process, and the allocator has used this memory before.
        self.buffer = memoryview(bytearray(BUFFER_SIZE))
        # Full buffers that are not hashed yet. A second process gets a copy of them by the fork and hashes them,
        # so this one need not load OpenSSL.
        self._kept: list[memoryview] = []
        self._hash: Optional[_Hash] = None
        self._views: list[memoryview] = []
        self._flushed = 0
        self._free = _BUFFERS - 1
        self.process = 0
        self._to_child = self._from_child = -1

    def __enter__(self) -> OverlappedSha256:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self.process:
            self._reap(kill=True)

    def flush(self, full: memoryview) -> memoryview:
        """Takes a full buffer, returns the next to fill; a `tar_output.Flush`.

        :raises HashProcessError: the other process died.
        """
        self._flushed += 1
        if not self.process:
            if not self._overlap:
                self._hash_so_far().update(full)
                return full
            self._kept.append(full)
            if self._flushed < _BEFORE_FORK:
                return memoryview(bytearray(BUFFER_SIZE))
            self._fork()
            return self._views[0]
        self._send(len(full))
        if not self._free:
            credits = os.read(self._from_child, _BUFFERS)
            if not credits:
                raise HashProcessError(self._reap(kill=True))
            self._free = len(credits)
        self._free -= 1
        return self._views[(self._flushed - _BEFORE_FORK) % _BUFFERS]

    def finish(self, last: memoryview) -> str:
        """Takes the last part, returns the hexadecimal digest of all.

        :raises HashProcessError: the other process died.
        """
        if not self.process:
            hasher = self._hash_so_far()
            hasher.update(last)
            return hasher.hexdigest()
        self._send(len(last))
        self._send(0)
        # Credits for buffers come first; the digest is the last thing that the process says.
        answer = b""
        while True:
            part = os.read(self._from_child, 64)
            if not part:
                break
            answer += part
        status = self._reap(kill=False)
        if status or len(answer) < _DIGEST_SIZE:
            raise HashProcessError(status)
        return answer[-_DIGEST_SIZE:].hex()

    def _hash_so_far(self) -> _Hash:
        """Returns the hash of all that went through this process."""
        if self._hash is None:
            self._hash = sha256()
        for buffer in self._kept:
            self._hash.update(buffer)
        self._kept.clear()
        return self._hash

    def _send(self, length: int) -> None:
        try:
            os.write(self._to_child, _MESSAGE.pack(length))
        except BrokenPipeError:
            raise HashProcessError(self._reap(kill=True)) from None

    def _fork(self) -> None:
        from mmap import mmap

        # Anonymous shared memory: a ring, of which the first buffer is filled next.
        memory = memoryview(mmap(-1, _BUFFERS * BUFFER_SIZE))
        self._views = [
            memory[start : start + BUFFER_SIZE] for start in range(0, len(memory), BUFFER_SIZE)
        ]
        child_reads, self._to_child = os.pipe()
        self._from_child, child_writes = os.pipe()
        self.process = os.fork()
        if not self.process:
            # Nothing of the parent's state may be unwound here, whatever happens.
            try:
                gc.disable()
                os.close(self._to_child)
                os.close(self._from_child)
                self._serve(child_reads, child_writes)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(child_reads)
        os.close(child_writes)
        self._kept.clear()

    def _serve(self, reads: int, writes: int) -> None:
        hasher = self._hash_so_far()
        for number in range(1 << 62):
            message = os.read(reads, _MESSAGE.size)
            if not message:
                os._exit(1)
            (length,) = _MESSAGE.unpack(message)
            if not length:
                os.write(writes, hasher.digest())
                return
            hasher.update(self._views[number % _BUFFERS][:length])
            os.write(writes, b"\1")

    def _reap(self, *, kill: bool) -> Optional[int]:
        """Ends the connection and waits for the process; returns its status."""
        child, self.process = self.process, 0
        os.close(self._to_child)
        os.close(self._from_child)
        return end_process(child, kill=kill) if child else None
