"""Processes that help to digest: they fail loudly, leave nothing behind, and stay small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import nixoci
import pytest
from nixoci.errors import NixOciError
from nixoci.layer.digest import digest_layer, digest_layers
from nixoci.processes.overlapped_hash import HashProcessError, OverlappedSha256
from nixoci.processes.workers import WorkerProcessError, WorkerProcesses
from nixoci.tar.output import BUFFER_SIZE

from tests.nixoci.tar.tar_support import File, recipe_of, store_path, write_store

SOURCE = str(Path(nixoci.__file__).parents[1])
ONE = store_path("one", "1")
TWO = store_path("two", "2")
#: More than are filled before the second process starts.
MANY_BUFFERS = 20
MEBIBYTE = 1 << 20


def assert_no_children() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def fill(hasher: OverlappedSha256, count: int) -> None:
    view = hasher.buffer
    for _ in range(count):
        view[:] = bytes(BUFFER_SIZE)
        view = hasher.flush(view)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("rest", [0, 1, BUFFER_SIZE])
@pytest.mark.parametrize("full", [0, 1, 3, 4, 5, MANY_BUFFERS, 50])
def test_hash_is_that_of_all(full: int, rest: int, overlap: bool) -> None:
    """Whatever of it was there before the second process, which is for those that are long enough."""
    content = os.urandom(full * BUFFER_SIZE + rest)
    with OverlappedSha256(overlap=overlap) as hasher:
        view = hasher.buffer
        for start in range(0, full * BUFFER_SIZE, BUFFER_SIZE):
            view[:] = content[start : start + BUFFER_SIZE]
            view = hasher.flush(view)
        view[:rest] = content[full * BUFFER_SIZE :]
        assert bool(hasher.process) == (overlap and full >= 4)
        assert hasher.finish(view[:rest]) == sha256(content).hexdigest()
    assert_no_children()


def test_killed_hash_process_is_an_error() -> None:
    """If the process that hashes is killed, the next bytes or the digest raise an error."""
    with OverlappedSha256() as hasher:
        fill(hasher, MANY_BUFFERS)
        os.kill(hasher.process, signal.SIGKILL)
        with pytest.raises(HashProcessError, match="killed by signal 9") as caught:
            fill(hasher, 1000)
            hasher.finish(memoryview(b""))
    assert caught.value.status == signal.SIGKILL
    assert_no_children()


def test_hash_process_is_killed_before_the_digest() -> None:
    """Also when only the digest is missing."""
    with OverlappedSha256() as hasher:
        fill(hasher, MANY_BUFFERS)
        os.kill(hasher.process, signal.SIGSTOP)
        os.kill(hasher.process, signal.SIGKILL)
        with pytest.raises(HashProcessError):
            hasher.finish(memoryview(b"end"))
    assert_no_children()


def test_no_process_is_left_after_an_error() -> None:
    """Giving up half-way ends the other process, even one that is stopped."""
    with pytest.raises(KeyboardInterrupt):
        with OverlappedSha256() as hasher:
            fill(hasher, MANY_BUFFERS)
            os.kill(hasher.process, signal.SIGSTOP)
            raise KeyboardInterrupt
    assert_no_children()


def test_hash_process_ends_with_its_parent() -> None:
    """A killed packer leaves no process: the pipe that both had for output reaches its end."""
    program = (
        f"import sys, time; sys.path.insert(0, {SOURCE!r})\n"
        "from nixoci.processes.overlapped_hash import OverlappedSha256\n"
        "hasher = OverlappedSha256()\n"
        f"for _ in range({MANY_BUFFERS}): hasher.flush(hasher.buffer)\n"
        "print(hasher.process, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        process.kill()
        assert process.stdout.read() == b""


def test_process_with_threads_does_not_fork(tmp_path: Path) -> None:
    """A fork would copy locks that other threads hold; the result is the same without one."""
    write_store(str(tmp_path), {ONE: File(bytes(6_000_000)), TWO: File(b"x")})
    recipes = [recipe_of(ONE), recipe_of(TWO)]
    expected = digest_layers(recipes, jobs=2, store_root=str(tmp_path))
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with OverlappedSha256() as hasher:
            fill(hasher, MANY_BUFFERS)
            assert hasher.process == 0
        assert digest_layers(recipes, jobs=2, store_root=str(tmp_path)) == expected
    finally:
        stop.set()
        thread.join()


def test_children_may_be_reaped_by_the_kernel(tmp_path: Path) -> None:
    """A program that ignores SIGCHLD gets its digests too."""
    write_store(str(tmp_path), {ONE: File(bytes(6_000_000)), TWO: File(b"x")})
    recipes = [recipe_of(ONE), recipe_of(TWO)]
    expected = [digest_layer(recipe, store_root=str(tmp_path)) for recipe in recipes]
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert digest_layers(recipes, jobs=2, store_root=str(tmp_path)) == expected
        assert digest_layer(recipes[0], store_root=str(tmp_path)) == expected[0]
    finally:
        signal.signal(signal.SIGCHLD, old)


class _SomethingWrongError(NixOciError):
    def __init__(self, one: int, two: str) -> None:
        self.one = one
        self.two = two
        super().__init__(f"sentence with {one} and {two}")


def test_error_of_a_worker_is_raised_here() -> None:
    """Type, facts and sentence come over, and the other processes are ended."""

    def work(index: int) -> bytes:
        if index == 0:
            signal.pause()
        raise _SomethingWrongError(index, "text")

    with pytest.raises(_SomethingWrongError, match="sentence with 1 and text") as caught:
        WorkerProcesses(work, ["waits", "fails"]).run([0, 1], jobs=2)
    assert (caught.value.one, caught.value.two) == (1, "text")
    assert_no_children()


def test_killed_worker_is_an_error() -> None:
    """The error says what the process did, and what killed it."""

    def work(index: int) -> bytes:
        if index:
            os.kill(os.getpid(), signal.SIGKILL)
        return b"done"

    with pytest.raises(WorkerProcessError, match="that dies was killed by signal 9") as caught:
        WorkerProcesses(work, ["works", "dies"]).run([0, 1], jobs=2)
    assert caught.value.status == signal.SIGKILL
    assert_no_children()


def test_exception_in_a_worker_comes_with_its_traceback() -> None:
    """What is no error of ours is a fault of the program, and can be found."""

    def work(index: int) -> bytes:
        return bytes(index // 0)

    with pytest.raises(WorkerProcessError, match="ZeroDivisionError") as caught:
        WorkerProcesses(work, ["divides"]).run([0], jobs=1)
    assert "return bytes(index // 0)" in caught.value.detail
    assert_no_children()


def test_number_of_workers_is_limited(tmp_path: Path) -> None:
    """At no time are there more processes than jobs; tasks start in the order that is given."""
    log = str(tmp_path / "log")

    def note(text: str) -> None:
        # One small write to a file in append mode is never mixed with another.
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{text}\n".encode())
        os.close(descriptor)

    def work(index: int) -> bytes:
        note(f"+{index}")
        sum(range(100_000))
        note(f"-{index}")
        return b"%d" % index

    order = [5, 3, 1, 0, 2, 4]
    assert WorkerProcesses(work, [""] * 6).run(order, jobs=1) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert Path(log).read_text().split() == [f"{sign}{i}" for i in order for sign in "+-"]
    os.unlink(log)
    WorkerProcesses(work, [""] * 6).run(order, jobs=3)
    running = most = 0
    for line in Path(log).read_text().split():
        running += 1 if line[0] == "+" else -1
        most = max(most, running)
    assert most <= 3


def peak_memory(program: str, *arguments: str) -> list[int]:
    """Runs a Python program that prints bytes, and returns them.

    The shell between keeps this process out of the peak that the kernel reports for the child.
    """
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-S", "-E", "-I", "-c", program]
    result = subprocess.run([*command, SOURCE, *arguments], check=True, stdout=subprocess.PIPE)
    return [int(word) for word in result.stdout.split()]


PEAK_PROGRAM = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from nixoci.layer.digest import digest_layer
from nixoci.recipe.layer import LayerRecipe
layer = digest_layer(LayerRecipe.from_json(sys.argv[2].encode()), store_root=sys.argv[3])
unit = 1 if sys.platform == "darwin" else 1024
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print(resource.getrusage(who).ru_maxrss * unit)
print(layer.size)
"""


def test_peak_memory_of_two_gigabytes_in_fifty_thousand_files(tmp_path: Path) -> None:
    """Both processes together stay below 64 MiB, though half of the files share a directory.

    The files are hard links to a hundred that are real and not sparse, so the test writes little;
    the stream holds each in full.
    """
    top = f"{tmp_path}{ONE}"
    os.makedirs(top)
    for number in range(100):
        with open(f"{top}/original-{number}", "wb") as file:
            file.write(os.urandom(400 * (number + 1)) + b"x" * (400 * number))
    for number in range(50_000):
        directory = f"{top}/wide" if number % 2 else f"{top}/part-{number // 500}"
        if number < 2 or number % 500 == 0:
            os.makedirs(directory, exist_ok=True)
        os.link(f"{top}/original-{number // 2 % 100}", f"{directory}/file-{number}")
    recipe = recipe_of(ONE).to_json().decode()
    own, of_child, size = peak_memory(PEAK_PROGRAM, recipe, str(tmp_path))
    assert size > 2_000_000_000
    assert own > 0 and of_child > 0, "the layer is large enough for a second process"
    assert own + of_child < 64 * MEBIBYTE, f"{own} and {of_child} bytes"
