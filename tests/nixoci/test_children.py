"""Tests of `nixoci.children`: what a command runs ends with it, whoever ends the command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest
from nixoci import children
from nixoci.children import child, end_children

from tests.nixoci.layer.long_build_support import DIGEST, LongBuild, running, wait_until


@pytest.fixture
def build(tmp_path: Path) -> LongBuild:
    return LongBuild(tmp_path)


_WRITE = ("image.json", "--origins=origins.json", "--output=out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "words",
    [
        ("realise", "--derivation=derivation.json"),
        ("write", *_WRITE, "--format=oci-archive"),
        ("write", *_WRITE, "--format=oci-layout"),
    ],
    ids=" ".join,
)
def test_a_build_ends_with_the_command(
    build: LongBuild, words: tuple[str, ...], number: signal.Signals
) -> None:
    """Also if its signal did not reach the build; and nothing is left of the output."""
    with build.command(*words) as process:
        wait_until(build.is_building)
        before = set(os.listdir(build.directory))
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert b"Traceback" not in said
        if number == signal.SIGINT:
            assert said.endswith(b"nixoci: interrupted\n")
        wait_until(lambda: not running(build.word))
        left = set(os.listdir(build.directory))
        assert "out" not in left and not [name for name in left if "partial" in name]
        assert left <= before


def test_a_server_takes_its_builds_along(build: LongBuild) -> None:
    """They run in threads that nobody waits for."""
    with build.command("serve", "image.json", "--origins=origins.json") as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().split("/")[0]
        (name,) = re.findall(r'"([^"]+)"', _get(f"http://{address}/v2/_catalog").partition("[")[2])

        def ask() -> None:
            with pytest.raises(OSError):
                _get(f"http://{address}/v2/{name}/blobs/{DIGEST}")

        client = threading.Thread(target=ask)
        client.start()
        wait_until(build.is_building)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        client.join()
        assert process.returncode == 0
        wait_until(lambda: not running(build.word))


def _get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def test_an_exception_ends_a_program() -> None:
    """Whatever it is; the program has ended when the exception goes on."""
    for error in (KeyboardInterrupt, SystemExit, ZeroDivisionError):
        with pytest.raises(error), child(["sleep", "1000"]) as process:
            raise error
        assert process.returncode == -signal.SIGTERM


def test_a_program_that_does_not_want_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has some seconds, and is killed then."""
    monkeypatch.setattr(children, "_GRACE", 0.2)
    words = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    with pytest.raises(ZeroDivisionError), child(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        raise ZeroDivisionError
    assert process.returncode == -signal.SIGKILL


def test_a_program_of_another_thread_that_does_not_want_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is killed by whoever asks again after some seconds."""
    monkeypatch.setattr(children, "_GRACE", 0.2)
    ready = threading.Event()
    found: list[int] = []

    def run() -> None:
        words = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
        with child(words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            ready.set()
        found.append(process.returncode)

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()

    def is_ended() -> bool:
        end_children()
        return not thread.is_alive()

    wait_until(is_ended)
    assert found == [-signal.SIGKILL]


def test_programs_of_other_threads_are_ended() -> None:
    """Their threads learn it from the exit status."""
    found: list[int] = []
    started = threading.Semaphore(0)

    def run() -> None:
        with child(["sleep", "1000"]) as process:
            started.release()
            process.wait()
        found.append(process.returncode)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        started.acquire()
    end_children()
    for thread in threads:
        thread.join()
    assert found == [-signal.SIGTERM] * 3
    # None is left that could be ended by mistake.
    end_children()
