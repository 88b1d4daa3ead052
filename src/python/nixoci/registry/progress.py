"""How far a push is, and what Nix builds for it: a line that changes on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import os
import threading
import time
from typing import Optional, TextIO

from nixoci.registry.push_result import MOUNTED, PRESENT, UPLOADED, PushedBlob

_MEGABYTE = 1_000_000

#: Seconds between two states of the line on a terminal.
_INTERVAL = 0.1

#: Seconds without a line, after which a log gets one, so that nobody takes the push for dead.
_LONG = 10.0

#: Of a terminal that does not say how many it has.
_USUAL_COLUMNS = 80

_VERBS = {UPLOADED: "uploaded", MOUNTED: "mounted", PRESENT: "is there already"}


class Progress:
    """Hears what a push does, from several threads; this one keeps it to itself."""

    def expect(self, blobs: int, size: int) -> None:
        """So many blobs, of so many bytes together, will be uploaded or mounted as well."""

    def advance(self, size: int) -> None:
        """So many bytes were sent; negative if an upload starts again."""

    def done(self, blob: PushedBlob) -> None:
        """A blob is where it should be."""

    def working(self, words: str, log: Optional[str] = None) -> None:
        """Nix builds or fetches what is needed, as `words` say; empty: it does not any more.

        :param log: the file that has what Nix says.
        """

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
        self._words = self._said = ""
        self._timer: Optional[threading.Timer] = None

    def working(self, words: str, log: Optional[str] = None) -> None:
        with self._lock:
            self._words = f"{words} (log: {log})" if words and log else words
            if self._timer is None:
                self._say()

    def close(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()

    def _say(self) -> None:
        """Prints what Nix does now, and not what comes next before a while has passed."""
        self._timer = None
        if self._words in ("", self._said):
            return
        self._said = self._words
        self._shown = time.monotonic()
        print(self._words, file=self._output, flush=True)
        self._timer = threading.Timer(_LONG, self._say_later)
        self._timer.daemon = True
        self._timer.start()

    def _say_later(self) -> None:
        with self._lock:
            self._say()

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
        self._words = ""

    def working(self, words: str, log: Optional[str] = None) -> None:
        with self._lock:
            self._words = words
            self._show()

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
            if self._shown:
                # The line has done its duty; what comes next begins where it began.
                self._output.write("\r\x1b[K")
                self._output.flush()

    def _show(self) -> None:
        self._shown = time.monotonic()
        done = f"{self._blobs} of {self._all_blobs} layers"
        sent = f"{done}, {megabytes(self._sent)} of {megabytes(self._all_bytes)}" if self._all_blobs else ""
        line = "; ".join(part for part in (self._words, sent) if part)
        # What goes on in the next line of a terminal would stay there.
        self._output.write(f"\r\x1b[K{line[: _columns(self._output) - 1]}")
        self._output.flush()


def _columns(output: TextIO) -> int:
    try:
        return os.get_terminal_size(output.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


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
