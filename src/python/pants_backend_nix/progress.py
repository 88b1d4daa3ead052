"""A process that takes long tells how far it is: in a file, of which Pants logs what is new."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from typing import Iterator

from nixoci.errors import printable
from pants.engine.streaming_workunit_handler import (
    thread_locals_get_for_current_thread,
    thread_locals_set_for_current_thread,
)

logger = logging.getLogger(__name__)

#: Seconds between two looks at the file, which the first line also waits: what is done at once needs none.
_LOOK = 1.0

#: Seconds between two lines, at the least.
_PAUSE = 10.0

#: Characters of a line.
_LONGEST = 500


@contextmanager
def logged_progress(path: str) -> Iterator[None]:
    """Logs the line that is in a file, now and then, if it is another one, while its body waits for a process.

    A rule cannot look while it waits, so a thread does, which has the destination of log lines that the rule has. It
    ends with the body, also when the rule is cancelled: then Python ends the body by `GeneratorExit`.

    :param path: of a file that is there while there is something to tell, see `nixoci.cli.commands.files.shown_in`;
        empty if there never is.
    """
    if not path:
        yield
        return
    done = threading.Event()
    thread_locals = thread_locals_get_for_current_thread()

    def look() -> None:
        thread_locals_set_for_current_thread(thread_locals)
        logged, at = "", -_PAUSE
        while not done.wait(_LOOK):
            now = time.monotonic()
            if now - at < _PAUSE:
                continue
            line = _read(path)
            if line and line != logged and not done.is_set():
                logged, at = line, now
                logger.info(line)

    thread = threading.Thread(target=look, name="nix-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


def _read(path: str) -> str:
    with suppress(OSError), open(path, "rb") as file:
        return printable(file.read(4 * _LONGEST).decode(errors="replace"), _LONGEST)
    return ""
