"""`nixoci run`: containers in real engines, straight from the store."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from subprocess import CompletedProcess
from typing import Iterator, Union

import pytest

from tests.integration.support import engines
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.store_images import (
    GREETING,
    StoreImage,
    nixoci_command,
    nixoci_environment,
    requested_layers,
    write_store_image,
)

Engine = Union[engines.Docker, engines.Podman]

#: Says that it runs, and how it ends; each shell command comes back when a signal arrives.
_WAITS = "echo ready; while :; do sleep 0.1; done"
_TRAPS = f"trap 'echo interrupted; exit 3' INT; trap 'echo terminated; exit 4' TERM; {_WAITS}"


@pytest.fixture(scope="module")
def podman() -> Iterator[engines.Podman]:
    with engines.podman() as running:
        yield running


@pytest.fixture(params=("docker", "podman"))
def engine(request: pytest.FixtureRequest) -> Engine:
    running: Engine = request.getfixturevalue(request.param)
    return running


@pytest.fixture(scope="module")
def image(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> StoreImage:
    data = {"big": uuid.uuid4().hex.encode() * 50_000}
    return write_store_image(machine_nix, tmp_path_factory.mktemp("image"), data=data)


def words(
    engine: Engine, image: StoreImage, *arguments: str, options: tuple[str, ...] = ()
) -> list[str]:
    """The command, in which containers have no network, as there is none here."""
    command = nixoci_command(
        *("run", "--log-requests", f"--engine={engine.name}", image.descriptor),
        *("--engine-option=--network=none", *options, "--", *arguments),
    )
    return engine.command(*command)


def run_image(
    nix: Nix, engine: Engine, image: StoreImage, *arguments: str, options: tuple[str, ...] = ()
) -> CompletedProcess[str]:
    environment = {**nixoci_environment(nix, engine.environment()), "SECRET": "swordfish"}
    command = words(engine, image, *arguments, options=options)
    return run(command, env=environment, check=False)


def containers(engine: Engine) -> list[str]:
    return engine.run("ps", "--all", "--quiet").stdout.split()


def test_output_and_exit_code(machine_nix: Nix, engine: Engine, image: StoreImage) -> None:
    """A container prints, takes arguments and a variable, and its exit code is the command's. The
    second run fetches nothing, and no container is left."""
    first = run_image(machine_nix, engine, image)
    assert (0, f"{GREETING}\n") == (first.returncode, first.stdout)
    assert sorted(image.layers) == sorted(requested_layers(first.stderr, image))
    second = run_image(
        *(machine_nix, engine, image, 'echo "$SECRET $0"; exit 7', "--an option"),
        options=("--env=SECRET",),
    )
    assert (7, "swordfish --an option\n", "") == (second.returncode, second.stdout, second.stderr)
    assert [] == containers(engine)


def test_standard_input(machine_nix: Nix, engine: Engine, image: StoreImage) -> None:
    """What is piped in reaches the container."""
    result = subprocess.run(
        words(engine, image, "read -r line; echo \"got $line\""),
        env=nixoci_environment(machine_nix, engine.environment()),
        input="a line\n",
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert "got a line\n" == result.stdout


def test_terminal(machine_nix: Nix, engine: Engine, image: StoreImage) -> None:
    """A user at a terminal gets one in the container."""
    command = words(engine, image, "test -t 0 && test -t 1 && echo it is a terminal")
    environment = nixoci_environment(machine_nix, engine.environment())
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        with subprocess.Popen(
            command, env=environment, stdin=follower, stdout=follower, start_new_session=True
        ) as process:
            os.close(follower)
            shown = b""
            while True:
                try:
                    piece = terminal.read(1000)
                except OSError:
                    # The other side is closed.
                    break
                if not piece:
                    break
                shown += piece
    assert (0, b"it is a terminal\r\n") == (process.returncode, shown)


@pytest.mark.parametrize(
    "number,script,output,status",
    (
        (signal.SIGINT, _TRAPS, "interrupted\n", 3),
        (signal.SIGTERM, _TRAPS, "terminated\n", 4),
        (signal.SIGINT, f"trap '' INT; {_WAITS}", "", 137),
    ),
)
def test_signals_end_the_container(
    machine_nix: Nix,
    engine: Engine,
    image: StoreImage,
    number: signal.Signals,
    script: str,
    output: str,
    status: int,
) -> None:
    """A signal reaches the container, whose exit code is passed on; a second one kills a container
    that does not mind the first. Nothing is left."""
    with subprocess.Popen(
        words(engine, image, script),
        env=nixoci_environment(machine_nix, engine.environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        nixoci = _nixoci_process(process.pid)
        os.kill(nixoci, number)
        if not output:
            time.sleep(0.5)
            os.kill(nixoci, number)
        rest = process.stdout.read()
        found = process.wait(timeout=30)
    assert (output, status) == (rest, found)
    assert [] == containers(engine)


def test_standard_error(machine_nix: Nix, engine: Engine, image: StoreImage) -> None:
    """It goes on at once, also while the container runs; and a program may end as engines do."""
    script = "echo early >&2; read -r line; echo late >&2; exit 126"
    with subprocess.Popen(
        words(engine, image, script),
        env=nixoci_environment(machine_nix, engine.environment()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None and process.stdin is not None
        for line in process.stderr:
            if line == "early\n":
                break
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.stderr.read() == "late\n"
    assert process.returncode == 126


@pytest.mark.parametrize("limit", ("nofile", "nproc", "memlock"))
def test_limits_that_a_machine_refuses(
    machine_nix: Nix, engine: Engine, image: StoreImage, limit: str
) -> None:
    """The engine says that something is not permitted; the command says what to set."""
    option = f"--engine-option=--ulimit={limit}=1048576000:1048576000"
    result = run_image(machine_nix, engine, image, "true", options=(option,))
    assert result.returncode in (125, 126)
    lines = result.stderr.splitlines()
    (advice,) = [line for line in lines if line.startswith("nixoci: ") and "limit" in line]
    assert f"{engine.name} did not start the container" in advice
    wanted = "`default_ulimits = [" if engine.name == "podman" else "`default-ulimits`"
    assert wanted in advice and "nofile=20000:20000" in advice
    assert "[nix-images].run_args" in advice
    assert [] == containers(engine)
    # What it says helps.
    option = "--engine-option=--ulimit=host"
    if engine.name == "podman":
        assert run_image(machine_nix, engine, image, "true", options=(option,)).returncode == 0


@pytest.mark.parametrize("script", (_WAITS, _TRAPS), ids=("deaf", "traps"))
def test_a_parent_that_is_gone(
    machine_nix: Nix, engine: Engine, image: StoreImage, script: str
) -> None:
    """Where the command is to end with the one that started it, so does the container."""
    options = ("--ends-with-parent", "--stop-timeout=0.5")
    inner = nixoci_command(
        *("run", f"--engine={engine.name}", *options, image.descriptor),
        *("--engine-option=--network=none", "--", script),
    )
    # The inner shell stays, and passes nothing on. With the first process of a namespace all others end.
    script_of_parent = '"$@" & wait'
    outer = f"/bin/sh -c '{script_of_parent}' sh \"$@\"; exec sleep 6 > /dev/null"
    command = engine.command("/bin/sh", "-c", outer, "sh", *inner)
    with subprocess.Popen(
        command,
        env=nixoci_environment(machine_nix, engine.environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            started = time.monotonic()
            os.kill(_shell_of(process.pid), signal.SIGKILL)
            assert process.stdout.read() == ("terminated\n" if script == _TRAPS else "")
            # In a namespace, its makers have the output as well until it ends: six seconds.
            assert time.monotonic() - started < 10
        except BaseException:
            process.kill()
            raise
    assert [] == containers(engine)


def _shell_of(started: int) -> int:
    """The inner shell below a process."""
    while not Path(f"/proc/{started}/cmdline").read_bytes().startswith(b'/bin/sh\0-c\0"$@" &'):
        # What lost its parent comes after it.
        children = Path(f"/proc/{started}/task/{started}/children").read_text().split()
        started = int(children[0])
    return started


def test_interrupted_load(machine_nix: Nix, docker: engines.Docker, tmp_path: Path) -> None:
    """SIGTERM in the middle of a load ends server and pull; the engine has no name of it."""
    word = uuid.uuid4().hex
    data = {"large": word.encode() * 3_000_000}
    image = write_store_image(machine_nix, tmp_path, data=data, references=(f"{word}:1",))
    with subprocess.Popen(
        words(docker, image),
        env=nixoci_environment(machine_nix, docker.environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "/manifests/sha256:" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert 128 + signal.SIGTERM == process.returncode
    names = docker.run("images", "--format", "{{.Repository}}").stdout
    assert "127.0.0.1" not in names and word not in names


def _nixoci_process(started: int) -> int:
    """The process of the command itself, which may be the child of one that makes namespaces."""
    command = Path(f"/proc/{started}/cmdline").read_bytes()
    if b"nixoci\0run" in command and not command.startswith(b"unshare"):
        return started
    (child,) = Path(f"/proc/{started}/task/{started}/children").read_text().split()
    return int(child)
