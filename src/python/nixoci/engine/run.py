"""Running a container of a loaded image, and seeing to it that it ends with the command."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import IO, Callable, Iterator, Optional

from nixoci.engine.client import Engine
from nixoci.engine.refused_limits import REFUSED_STATUSES, way_out_of_refused_limits
from nixoci.errors import InvalidInputError

#: Seconds that a container has by default to end after a signal; `docker stop` gives as many.
STOP_TIMEOUT = 10.0

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class RunOptions:
    """How a container is run.

    :param arguments: follow the image: the command or its arguments.
    :param environment_names: variables that it gets with the values they have here. The values are
        in no command line, which other users of the machine could read.
    :param ports: as after `--publish` of the engine.
    :param engine_options: more words for the engine's `run`, before the image.
    :param stop_timeout: seconds that the container has to end after the first signal.
    :param ends_with_parent: the container gets SIGTERM when the process that started this one is gone.
    :raises InvalidInputError: a variable has no valid name, `stop_timeout` is less than 0.
    """

    arguments: tuple[str, ...] = ()
    environment_names: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    engine_options: tuple[str, ...] = ()
    stop_timeout: float = STOP_TIMEOUT
    ends_with_parent: bool = False

    def __post_init__(self) -> None:
        if not self.stop_timeout >= 0:
            raise InvalidInputError(
                "time to stop", str(self.stop_timeout), "expected seconds, 0 or more"
            )
        for name in self.environment_names:
            if not _VARIABLE.fullmatch(name):
                # A value is not repeated in the message, as it may be a secret.
                raise InvalidInputError(
                    "environment variable",
                    name.partition("=")[0],
                    "expected a name alone; set the variable in this environment, and the "
                    "container gets its value",
                )


def run_words(
    engine: Engine, identifier: str, options: RunOptions, *, name: str, tty: bool
) -> list[str]:
    """Returns the command line that runs a container and removes it when it ends.

    :param identifier: of the image, in the engine.
    :param name: of the container.
    :param tty: whether it gets a terminal.
    """
    return [
        engine.program,
        "run",
        "--rm",
        "--interactive",
        *(["--tty"] if tty else []),
        f"--name={name}",
        *(f"--env={variable}" for variable in options.environment_names),
        *(f"--publish={ports}" for ports in options.ports),
        *options.engine_options,
        identifier,
        *options.arguments,
    ]


def run_container(
    engine: Engine,
    identifier: str,
    options: RunOptions,
    advise: Callable[[str], object] = lambda line: None,
) -> int:
    """Runs a container with this process's standard streams, and returns its exit code.

    SIGINT, SIGTERM and SIGHUP reach the container, each once. It is killed `options.stop_timeout`
    seconds after the first of them, or at the second one. No container is left, however this ends.

    :param identifier: of the image, in the engine.
    :param advise: gets a line for the user, where the engine did not start the container for a reason
        that it does not explain.
    """
    own_name = _container_name(options)
    name = own_name or f"nixoci-{secrets.token_hex(8)}"
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    words = run_words(engine, identifier, options, name=name, tty=tty)
    received: list[int] = []
    parent = os.getppid()
    # The keys of a terminal send their signals to the client too. Anybody else's signals to a
    # process group must not reach it beside those that we pass on, and in a session of its own it
    # may set up the terminal even if we are in the background, which is where Pants puts us.
    in_foreground = _is_in_foreground()
    with _received_signals(received), subprocess.Popen(
        words, stderr=subprocess.PIPE, start_new_session=not in_foreground
    ) as process:
        assert process.stderr is not None
        said = _PassedOn(process.stderr)
        handled = 0
        stopping_since: Optional[float] = None
        while process.poll() is None:
            if options.ends_with_parent and os.getppid() != parent:
                # Whoever would have passed signals on to us has ended without that.
                parent = os.getppid()
                received.append(signal.SIGTERM)
            if len(received) > handled:
                handled += 1
                if handled == 1:
                    stopping_since = time.monotonic()
                    if not (in_foreground and received[0] == signal.SIGINT):
                        process.send_signal(received[0])
                else:
                    _remove(engine, name)
            try:
                # Handlers of signals run while this waits, and it then goes on: hence in steps.
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                waited = time.monotonic() - stopping_since if stopping_since is not None else 0.0
                if stopping_since is not None and waited >= options.stop_timeout:
                    stopping_since = time.monotonic()
                    _remove(engine, name)
        if received and own_name is None:
            # The client may have ended before its container. One with a name that the user chose
            # could by now, or since before, be another one.
            _remove(engine, name)
        said.finish()
    status = process.returncode
    if status in REFUSED_STATUSES:
        way_out = way_out_of_refused_limits(engine.name, said.end.decode(errors="replace"))
        if way_out is not None:
            advise(way_out)
    return 128 - status if status < 0 else status


class _PassedOn:
    """What a process writes to its standard error goes on to our own, and its end is kept."""

    #: Bytes that are kept: an engine has one line for why it did not start a container.
    _KEPT = 4096
    #: Seconds for what is on its way when the process has ended. Its children may hold the pipe longer.
    _REST = 1.0

    def __init__(self, source: IO[bytes]) -> None:
        self.end = b""
        self._over = False
        self._source = source
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits until all has gone on."""
        self._thread.join(self._REST)
        self._over = True

    def _pass_on(self) -> None:
        source = self._source.fileno()
        wanted = True
        while True:
            data = os.read(source, 1 << 16)
            if not data or self._over:
                return
            self.end = (self.end + data)[-self._KEPT :]
            while wanted and data:
                try:
                    data = data[os.write(2, data) :]
                except OSError:
                    # Nobody reads it any more; the container goes on.
                    wanted = False


def _container_name(options: RunOptions) -> Optional[str]:
    """The name that the user gives the container; the engine takes the last one."""
    words = options.engine_options
    name = None
    for position, word in enumerate(words):
        if word.startswith("--name="):
            name = word.partition("=")[2]
        elif word == "--name" and position + 1 < len(words):
            name = words[position + 1]
    return name


def _is_in_foreground() -> bool:
    """Whether a terminal's keys send signals to this process."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _remove(engine: Engine, name: str) -> None:
    # Podman's `rm` first gives the container ten seconds more.
    for words in (("kill", name), ("rm", "--force", name)):
        subprocess.run(
            [engine.program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            # Whoever waits for us may lose patience and kill our process group.
            start_new_session=True,
        )


@contextmanager
def _received_signals(received: list[int]) -> Iterator[None]:
    """Collects signals in `received` while the body runs, in place of what they do otherwise."""

    def receive(number: int, _: Optional[FrameType]) -> None:
        received.append(number)

    previous = {number: signal.signal(number, receive) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
