"""How far a push is: a line that changes on a terminal, one line for each blob elsewhere."""

from __future__ import annotations

import threading
import time
from typing import TextIO

from nixoci.registry.push_result import MOUNTED, PRESENT, UPLOADED, PushedBlob

_MEGABYTE = 1_000_000

#: Seconds between two states of the line on a terminal.
_INTERVAL = 0.1

_VERBS = {UPLOADED: "uploaded", MOUNTED: "mounted", PRESENT: "is there already"}


class Progress:
    """Hears what a push does, from several threads; this one keeps it to itself."""

    def expect(self, blobs: int, size: int) -> None:
        """So many blobs, of so many bytes together, will be uploaded or mounted as well."""

    def advance(self, size: int) -> None:
        """So many bytes were sent; negative if an upload starts again."""

    def done(self, blob: PushedBlob) -> None:
        """A blob is where it should be."""

    def close(self) -> None:
        """The push is over, well or not."""


class LineProgress(Progress):
    """Writes one line for each blob, as a log wants it."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = threading.Lock()

    def done(self, blob: PushedBlob) -> None:
        source = f" from {blob.source}" if blob.source else ""
        line = f"{blob.repository}: {blob.digest} {_size(blob.size)} {_VERBS[blob.outcome]}{source}"
        with self._lock:
            print(line, file=self._output, flush=True)


class TerminalProgress(Progress):
    """Keeps one line of a terminal up to date."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._blobs = self._all_blobs = self._sent = self._all_bytes = 0
        self._shown = 0.0

    def expect(self, blobs: int, size: int) -> None:
        with self._lock:
            self._all_blobs += blobs
            self._all_bytes += size
            self._show()

    def advance(self, size: int) -> None:
        with self._lock:
            self._sent += size
            if time.monotonic() - self._shown >= _INTERVAL:
                self._show()

    def done(self, blob: PushedBlob) -> None:
        if blob.outcome == PRESENT:
            return
        with self._lock:
            self._blobs += 1
            if blob.outcome == MOUNTED:
                self._sent += blob.size
            self._show()

    def close(self) -> None:
        with self._lock:
            if self._all_blobs:
                # The line has done its duty; what comes next begins where it began.
                self._output.write("\r\x1b[K")
                self._output.flush()

    def _show(self) -> None:
        self._shown = time.monotonic()
        done = f"{self._blobs} of {self._all_blobs} layers"
        self._output.write(f"\r\x1b[K{done}, {_size(self._sent)} of {_size(self._all_bytes)}")
        self._output.flush()


def progress_for(output: TextIO) -> Progress:
    """Returns what suits an output: a terminal or not."""
    return TerminalProgress(output) if output.isatty() else LineProgress(output)


def _size(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
