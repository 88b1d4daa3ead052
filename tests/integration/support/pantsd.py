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

#: What a command of Pants says that has started the daemon, waited 60 seconds for it, and done nothing.
PANTSD_TOO_SLOW = "seconds while waiting for pantsd "

#: Seconds that a machine with much else to do may need to start it.
_START = 300

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
    """Returns the process IDs of the daemons of the build root, those that are about to start included.

    A command that starts one, or uses it, counts as well.
    """
    title, argument = f"pantsd [{root.resolve()}]", f"--pants-workdir={root / '.pants.d'}"
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        # Others end while we look.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = [os.fsdecode(word) for word in file.read_bytes().split(b"\0")]
            if words[0] == title or ("--pantsd" in words and argument in words):
                found.append(int(file.parent.name))
    return tuple(found)


def await_pantsd(root: Path) -> None:
    """Waits until the daemon of the build root, which is about to start, can be asked.

    :raises TimeoutError: it did not start.
    """
    deadline = time.monotonic() + _START
    # It is written last.
    while not any(root.glob(".pids/*/pantsd/socket")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"pantsd of {root} did not start.")
        time.sleep(0.1)


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
