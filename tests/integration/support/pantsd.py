"""pantsd, the daemon of Pants, ends with the tests that use it, whatever ends those.

Run as a program, this file waits until its standard input ends, and then ends the daemons of a build
root. It has a session of its own, as Pants kills the whole process group of a test that takes too long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator

#: Seconds after the death of the test in which a command that it had started may start a daemon.
_LATE = 30


@contextlib.contextmanager
def pantsd_ends(root: Path) -> Iterator[None]:
    """Ends the daemons of the build root `root` with the `with` block, or when this process is gone.

    They are killed: at SIGTERM pantsd waits for clients that are there.

    :raises RuntimeError: they could not be ended.
    """
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", __file__, root, str(os.getpid())],
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as watchdog:
        try:
            yield
        finally:
            watchdog.communicate(timeout=60)
    if watchdog.returncode:
        raise RuntimeError(f"pantsd of {root} could not be ended.")


def pantsd_processes(root: Path) -> tuple[int, ...]:
    """Returns the process IDs of the daemons of the build root that run."""
    numbers = (int(file.read_text() or "0") for file in root.glob(".pids/*/pantsd/pid"))
    return tuple(number for number in numbers if b"pantsd" in _command(number))


def _command(process: int) -> bytes:
    """Returns the command line of a process, which is empty when it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _end(root: Path) -> None:
    """Kills the daemons of the build root, and waits until they are gone."""
    while True:
        running = pantsd_processes(root)
        if not running:
            return
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def main() -> None:
    """Arguments: the build root, and the process ID of the test."""
    root, test = Path(sys.argv[1]), int(sys.argv[2])
    sys.stdin.read()
    _end(root)
    last = time.monotonic() + _LATE
    while os.getppid() != test and time.monotonic() < last:
        time.sleep(0.5)
        _end(root)


if __name__ == "__main__":
    main()
