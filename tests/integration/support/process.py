"""Running programs: to their end with their output kept, or as daemons that end with the test."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Iterator, Mapping, Sequence


class CommandFailedError(Exception):
    """A program ended with another exit code than 0, or not in time.

    Attributes: `argv`, `returncode` (`None` after a time-out) and `output`, what it printed.
    """

    def __init__(self, argv: Sequence[str], returncode: int | None, output: str) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.output = output
        verdict = "did not end in time" if returncode is None else f"exit code {returncode}"
        super().__init__(f"{' '.join(self.argv)}: {verdict}\n{output}")


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 300,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end and returns it with `stdout` and `stderr` as text.

    The program gets no standard input. Bytes that are not UTF-8 come as surrogate escapes.

    :param env: the whole environment; that of this process when not given.
    :param timeout: seconds after which the program is killed.
    :param check: False returns a failed program instead of raising.
    :raises CommandFailedError: see there.
    """
    words = [os.fspath(word) for word in argv]
    try:
        result = subprocess.run(
            words,
            env=env,
            cwd=cwd,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except subprocess.TimeoutExpired as error:
        # The standard library hands over bytes here, whatever the encoding asked for.
        parts = (error.stdout or b"", error.stderr or b"")
        text = "".join(p if isinstance(p, str) else p.decode(errors="replace") for p in parts)
        raise CommandFailedError(words, None, text) from None
    if check and result.returncode != 0:
        raise CommandFailedError(words, result.returncode, result.stdout + result.stderr)
    return result


def dies_with_parent(argv: Sequence[str | Path], signal: str = "KILL") -> list[str]:
    """Returns `argv` so wrapped that the program gets `signal` when this process is gone.

    This holds also when the test process itself is killed (a time-out of Pants), where no `finally`
    runs. `setpriv` is in util-linux, which every Debian has.
    """
    return ["setpriv", "--pdeathsig", signal, *(os.fspath(word) for word in argv)]


@contextlib.contextmanager
def daemon(
    argv: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a program and ends it (SIGTERM, after 20 seconds SIGKILL) with the `with` block.

    The program gets SIGTERM too when the test process dies.

    :param log: file that gets its standard output and error.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            dies_with_parent(argv, "TERM"),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
