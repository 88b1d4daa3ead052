"""Programs that this one runs, and that do not outlive it: a build that nobody waits for any more takes hours at times."""

from __future__ import annotations

import atexit
import subprocess
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Sequence

#: Seconds that a program has to end by itself: Nix ends the build that it runs.
_GRACE = 5.0

_running: set[subprocess.Popen[bytes]] = set()


@contextmanager
def child(words: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program while its body runs, and until it ends. After an exception it is ended.

    :param options: as for `subprocess.Popen`.
    :raises OSError: it cannot be started.
    """
    with subprocess.Popen(words, **options) as process:
        _running.add(process)
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
            _running.discard(process)


def end_children() -> None:
    """Asks all that run to end, whichever thread waits for them; these get to know by the exit status."""
    for process in list(_running):
        process.terminate()


# Threads that the end of the program does not wait for may have some.
atexit.register(end_children)
