"""Running a container of a loaded image, and seeing to it that it ends with the command."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Iterator, Optional

from nixoci.engine.client import Engine
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
    :raises InvalidInputError: a variable has no valid name, `stop_timeout` is less than 0.
    """

    arguments: tuple[str, ...] = ()
    environment_names: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    engine_options: tuple[str, ...] = ()
    stop_timeout: float = STOP_TIMEOUT

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


def run_container(engine: Engine, identifier: str, options: RunOptions) -> int:
    """Runs a container with this process's standard streams, and returns its exit code.

    SIGINT, SIGTERM and SIGHUP reach the container, each once. It is killed `options.stop_timeout`
    seconds after the first of them, or at the second one. No container is left, however this ends.

    :param identifier: of the image, in the engine.
    """
    own_name = _container_name(options)
    name = own_name or f"nixoci-{secrets.token_hex(8)}"
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    words = run_words(engine, identifier, options, name=name, tty=tty)
    received: list[int] = []
    # The keys of a terminal send their signals to the client too. Anybody else's signals to a
    # process group shall not reach it beside those that we pass on, and in a session of its own it
    # may set up the terminal even if we are in the background, which is where Pants puts us.
    in_foreground = _is_in_foreground()
    with _received_signals(received), subprocess.Popen(
        words, start_new_session=not in_foreground
    ) as process:
        handled = 0
        waited = 0.0
        while process.poll() is None:
            if len(received) > handled:
                handled += 1
                if handled == 1:
                    if not (in_foreground and received[0] == signal.SIGINT):
                        process.send_signal(received[0])
                else:
                    _remove(engine, name)
            try:
                # Handlers of signals run while this waits, and it then goes on: hence in steps.
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                waited += 0.1 if received else 0
                if received and waited >= options.stop_timeout:
                    waited = 0
                    _remove(engine, name)
        if received and own_name is None:
            # The client may have ended before its container. One with a name that the user chose
            # could by now, or since before, be another one.
            _remove(engine, name)
    status = process.returncode
    return 128 - status if status < 0 else status


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
