"""`pants run` of an image, on a real podman and a real dockerd."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import subprocess
import termios
from typing import Iterator

import pytest

from tests.integration.support import engines
from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.run_image import (
    WAITS,
    Engine,
    environment_of,
    left_in,
    options_of,
)


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine without images."""
    with engines.podman() if request.param == "podman" else engines.dockerd() as running:
        yield running


@pytest.fixture(scope="module")
def monorepo(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix
) -> Monorepo:
    """A monorepo with one image of a static shell."""
    repository = Monorepo.create(tmp_path_factory.mktemp("run"), machine_nix)
    write_busybox_image(repository, "app")
    # What podman makes ends with the command only in namespaces; a dockerd has its own.
    prefix = tuple(engine.command()) if isinstance(engine, engines.Podman) else ()
    return dataclasses.replace(repository, nix=dataclasses.replace(machine_nix, prefix=prefix))


def _sent(log: str) -> list[str]:
    """The digests of what an engine got from us, as the log of requests has it."""
    return re.findall(r"nixoci: GET /v2/\S+/blobs/(sha256:[0-9a-f]{64}) 200", log)


def test_output_and_exit_code(monorepo: Monorepo, engine: Engine) -> None:
    """What the container prints and how it ends; arguments, options of the engine, environment.

    The engine fetches the layer once, and nothing at the second run.
    """
    run = monorepo.pants(
        "-ldebug",
        *options_of(engine, "--env=GREETING"),
        "run",
        "app:image",
        "--",
        'echo "$GREETING, $0 $1"; exit 7',
        "one",
        "two words",
        check=False,
        environment={**environment_of(engine), "GREETING": "good day"},
    )
    assert run.stdout == "good day, one two words\n"
    assert run.result.returncode == 7
    # Config and layer.
    assert len(_sent(run.stderr)) == len(set(_sent(run.stderr))) == 2
    again = monorepo.pants(
        "-ldebug",
        *options_of(engine),
        "run",
        "app:image",
        "--",
        "echo again",
        environment=environment_of(engine),
    )
    assert again.stdout == "again\n"
    assert "nixoci: GET" not in again.stderr
    assert again.processes("Digest", "Build", "Evaluate") == ()
    containers, names = left_in(engine)
    assert containers == []
    assert [name.rpartition("/")[2] for name in names] == ["image:latest"]


@contextlib.contextmanager
def _terminal(
    monorepo: Monorepo, engine: Engine, script: str, *, output: bool
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Runs `script` in the image by `pants run`, started from a terminal.

    Gives the user's side of the terminal, and Pants. Both have ended after the `with` block.

    :param output: Pants writes to the terminal; else into a pipe.
    """
    leader, follower = os.openpty()
    with subprocess.Popen(
        monorepo.command(*options_of(engine), "run", "app:image", "--", script),
        env=monorepo.environment(environment_of(engine)),
        cwd=monorepo.root,
        stdin=follower,
        stdout=follower if output else subprocess.PIPE,
        stderr=follower if output else subprocess.DEVNULL,
        start_new_session=True,
        # Its keys send signals to the session that it belongs to.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(follower)
        try:
            yield leader, process
        finally:
            # Ends Pants, if the test did not get so far, as closing a window does.
            os.close(leader)


def _read(descriptor: int, until: bytes = b"") -> bytes:
    """Reads to the end, or until something was read."""
    found = b""
    while not until or until not in found:
        try:
            piece = os.read(descriptor, 1000)
        except OSError:
            # Nobody is on the other side of the terminal any more.
            break
        if not piece:
            break
        found += piece
    return found


def test_a_terminal_is_passed_on(monorepo: Monorepo, engine: Engine) -> None:
    """A user at a terminal gets one in the container; Ctrl-C there is the container's."""
    trap = "trap 'echo interrupted; exit 3' INT"
    script = f"test -t 0 && test -t 1 && echo it is a terminal; {trap}; {WAITS}"
    with _terminal(monorepo, engine, script, output=True) as (terminal, process):
        assert b"it is a terminal\r\nready" in _read(terminal, until=b"ready\r\n")
        os.write(terminal, b"\x03")
        assert b"interrupted" in _read(terminal)
        assert process.wait(timeout=30) == 3
    assert left_in(engine)[0] == []


def test_interrupt_ends_container_and_pants(monorepo: Monorepo, engine: Engine) -> None:
    """Ctrl-C reaches the container, once. One that goes on is killed before Pants gives up on it."""
    script = f"trap 'echo interrupted' INT; {WAITS}"
    with _terminal(monorepo, engine, script, output=False) as (terminal, process):
        assert process.stdout is not None
        output = process.stdout.fileno()
        assert _read(output, until=b"ready\n") == b"ready\n"
        os.write(terminal, b"\x03")
        assert _read(output) == b"interrupted\n"
        assert process.wait(timeout=30) == 1
    containers, names = left_in(engine)
    assert containers == []
    assert [name.rpartition("/")[2] for name in names] == ["image:latest"]
