"""How far a push is: a line that changes on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from typing import TextIO

from nixoci.registry.push_result import MOUNTED, PRESENT, UPLOADED, PushedBlob

_MEGABYTE = 1_000_000

#: Seconds between two states of the line on a terminal.
_INTERVAL = 0.1

#: Seconds without a line, after which a log gets one, so that nobody takes the push for dead.
_LONG = 10.0

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
    """Writes lines, as a log wants them: one for a blob that is done if there was none for long.

    :param verbose: one for each blob.
    """

    def __init__(self, output: TextIO, verbose: bool = False) -> None:
        self._output = output
        self._verbose = verbose
        self._lock = threading.Lock()
        self._shown = time.monotonic()

    def done(self, blob: PushedBlob) -> None:
        source = f" from {blob.source}" if blob.source else ""
        verb = _VERBS[blob.outcome]
        line = f"{blob.repository}: {blob.digest} {megabytes(blob.size)} {verb}{source}"
        with self._lock:
            now = time.monotonic()
            if self._verbose or now - self._shown >= _LONG:
                self._shown = now
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
        self._output.write(f"\r\x1b[K{done}, {megabytes(self._sent)} of {megabytes(self._all_bytes)}")
        self._output.flush()


def progress_for(output: TextIO, verbose: bool = False) -> Progress:
    """Returns what suits an output: a terminal or not.

    :param verbose: a line for each blob, also on a terminal.
    """
    if output.isatty() and not verbose:
        return TerminalProgress(output)
    return LineProgress(output, verbose)


def megabytes(size: int) -> str:
    """Returns a number of bytes for people."""
    return f"{size / _MEGABYTE:.1f} MB"
