"""Programs that this one runs, and that do not outlive it: a build that nobody waits for any more takes hours at times."""

from __future__ import annotations

import atexit
import subprocess
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Optional, Sequence

#: Seconds that a program has to end by itself: Nix ends the build that it runs.
_GRACE = 5.0

#: What runs, and when it was asked to end; None if it was not.
_running: dict[subprocess.Popen[bytes], Optional[float]] = {}


@contextmanager
def child(words: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program while its body runs, and until it ends. After an exception it is ended.

    :param options: as for `subprocess.Popen`.
    :raises OSError: it cannot be started.
    """
    with subprocess.Popen(words, **options) as process:
        _running[process] = None
        try:
            yield process
            process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        finally:
            _running.pop(process, None)


def end_children() -> None:
    """Asks all that run to end, whichever thread waits for them; these get to know by the exit status.

    It may be called several times, and kills those that were asked before and still run after a while.
    """
    now = time.monotonic()
    for process, asked in list(_running.items()):
        if asked is not None and now - asked >= _GRACE:
            process.kill()
        else:
            process.terminate()
        if process in _running and asked is None:
            _running[process] = now


# Threads that the end of the program does not wait for may have some.
atexit.register(end_children)
