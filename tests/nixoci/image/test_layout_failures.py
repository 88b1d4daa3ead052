"""Tests of `nixoci.atomic` through the writers: what is left when something goes wrong."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import nixoci
import pytest
from nixoci import atomic
from nixoci.atomic import OutputError
from nixoci.errors import NixOciError
from nixoci.image.archive import write_docker_archive, write_oci_archive
from nixoci.image.layout import write_oci_layout

from tests.nixoci.image import layout_support
from tests.nixoci.image.layout_support import CHUNK_SIZE, known_image, tree

WRITERS = [write_oci_layout, write_oci_archive, write_docker_archive]
PARTIAL = ".nixoci-partial-"
OLD = known_image(b"old")
LARGE = known_image(b"small", os.urandom(40 * CHUNK_SIZE))


def write(writer, path: Path, known=OLD, write_layer=None) -> None:
    writer(str(path), known.image, known.recipes, write_layer or known.write_layer)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [NixOciError, KeyboardInterrupt, SystemExit, OSError])
def test_an_exception_leaves_what_was_there(tmp_path: Path, writer, exists: bool, error) -> None:
    """Whatever ends a write in the middle: the old output stays, of the new one nothing does."""
    if exists:
        write(writer, tmp_path / "out")
    before = tree(tmp_path)

    def fail_in_the_middle(recipe, layer, write) -> None:
        write(memoryview(b"sma"))
        raise error("from the store")

    with pytest.raises(error) as caught:
        write(writer, tmp_path / "out", LARGE, fail_in_the_middle)
    # An error from the store is not taken for one of the output.
    assert str(caught.value) == "from the store"
    assert tree(tmp_path) == before and len(os.listdir(tmp_path)) == exists


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "nixoci", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_what_was_there(small_disk: Path, writer) -> None:
    """The error names the output and the reason; the old output stays, and there is room again."""
    write(writer, small_disk / "out")
    before = tree(small_disk)
    with pytest.raises(OutputError) as caught:
        write(writer, small_disk / "out", LARGE)
    assert caught.value.path == str(small_disk / "out")
    assert caught.value.reason == "No space left on device"
    assert str(caught.value) == f"{small_disk}/out cannot be written: No space left on device."
    assert tree(small_disk) == before and os.listdir(small_disk) == ["out"]
    write(writer, small_disk / "out", known_image(b"next"))


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("missing", [1, 100])
def test_the_last_bytes_count(tmp_path: Path, writer, missing: int) -> None:
    """A write that the system does only in part, at the very end, is no success."""
    write(writer, tmp_path / "out", LARGE)
    before = tree(tmp_path)
    (tmp_path / "out").rename(tmp_path / "complete")
    largest = max(len(content) for content in before.values())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - missing, hard))
    try:
        with pytest.raises(OutputError) as caught:
            write(writer, tmp_path / "out", LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.reason == "File too large"
    assert os.listdir(tmp_path) == ["complete"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_missing_directory_is_named(tmp_path: Path, writer) -> None:
    """An output where none can be is an error for the user."""
    with pytest.raises(OutputError) as caught:
        write(writer, tmp_path / "missing" / "out")
    assert str(caught.value) == (
        f"{tmp_path}/missing/out cannot be written: No such file or directory."
    )


@pytest.mark.parametrize("writer", [write_oci_archive, write_docker_archive])
def test_an_archive_replaces_no_directory(tmp_path: Path, writer) -> None:
    """A directory in the way is found before a layer is streamed."""
    known = known_image(b"one")
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError) as caught:
        write(writer, tmp_path / "out", known)
    assert caught.value.reason == "Is a directory" and known.written == []
    assert os.listdir(tmp_path) == ["out"]


class SlowWrite:
    """Another process that writes an output and stops in the middle of a layer."""

    PROGRAM = """
import sys, time
from tests.nixoci.image.layout_support import known_image
from nixoci.image.archive import *
from nixoci.image.layout import write_oci_layout
known = known_image(b"never complete")
def write_layer(recipe, layer, write):
    write(memoryview(b"never"))
    print("in the middle", flush=True)
    time.sleep(100)
globals()[sys.argv[1]](sys.argv[2], known.image, known.recipes, write_layer)
"""

    def __init__(self, writer, path: Path) -> None:
        # Their roots: what follows the parent of each file is its module's name.
        places = [Path(nixoci.__file__).parents[1], Path(layout_support.__file__).parents[2]]
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, writer.__name__, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout.readline() == b"in the middle\n"

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.process.stdout.close()
        return self.process.wait()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "number, status",
    [
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, 128 + signal.SIGHUP),
        (signal.SIGINT, -signal.SIGINT),
    ],
)
def test_a_signal_leaves_what_was_there(tmp_path: Path, writer, number: int, status: int) -> None:
    """Who cancels a build finds the old output and nothing else."""
    write(writer, tmp_path / "out")
    before = tree(tmp_path)
    assert SlowWrite(writer, tmp_path / "out").end(number) == status
    assert tree(tmp_path) == before and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("writer", WRITERS)
def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path, writer) -> None:
    """After SIGKILL the old output is there; a write in progress is never taken for abandoned."""
    write(writer, tmp_path / "out")
    before = tree(tmp_path / "out")
    killed = SlowWrite(writer, tmp_path / "out")
    running = SlowWrite(writer, tmp_path / "out")
    assert len([name for name in os.listdir(tmp_path) if name.startswith(PARTIAL)]) == 2
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    assert tree(tmp_path / "out") == before
    (tmp_path / f"{PARTIAL}mine").write_bytes(b"has another form of name")
    write(writer, tmp_path / "other")
    assert len([name for name in os.listdir(tmp_path) if name.startswith(PARTIAL)]) == 2
    running.end(signal.SIGTERM)
    assert sorted(os.listdir(tmp_path)) == [f"{PARTIAL}mine", "other", "out"]


@pytest.mark.parametrize("replace", [atomic.replace_file, atomic.replace_directory])
def test_writes_side_by_side_spare_each_other(tmp_path: Path, replace) -> None:
    """No write takes one for abandoned that has only just begun in the same directory."""

    def write_often(name: str) -> None:
        for _ in range(300):
            with replace(str(tmp_path / name)):
                pass

    names = [f"out-{number}" for number in range(8)]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(name,)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * len(names)
    assert sorted(os.listdir(tmp_path)) == names


def test_signal_handlers_are_as_before(tmp_path: Path) -> None:
    """A library changes nothing of the program around it for longer than it must."""
    before = signal.getsignal(signal.SIGTERM)

    def own_handler(number: int, frame: object) -> None:
        raise AssertionError

    try:
        for handler in (signal.SIG_DFL, signal.SIG_IGN, own_handler):
            signal.signal(signal.SIGTERM, handler)
            write(write_oci_archive, tmp_path / "out")
            assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_layout_is_never_absent_while_it_is_replaced(tmp_path: Path) -> None:
    """The operating system exchanges old and new in one step here."""
    write(write_oci_layout, tmp_path / "one")
    write(write_oci_layout, tmp_path / "two", LARGE)
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert atomic._exchange(str(tmp_path / "one"), str(tmp_path / "two"))
    assert (tree(tmp_path / "one"), tree(tmp_path / "two")) == (two, one)


def test_a_layout_is_replaced_without_exchange(tmp_path: Path, monkeypatch) -> None:
    """Where names cannot be exchanged, the old one is renamed away and deleted."""
    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    write(write_oci_layout, tmp_path / "expected", LARGE)
    write(write_oci_layout, tmp_path / "out")
    write(write_oci_layout, tmp_path / "out", LARGE)
    assert tree(tmp_path / "out") == tree(tmp_path / "expected")
    assert sorted(os.listdir(tmp_path)) == ["expected", "out"]


def test_a_failed_rename_brings_the_old_layout_back(tmp_path: Path, monkeypatch) -> None:
    """If the new one cannot be moved into place, the old one returns there."""
    write(write_oci_layout, tmp_path / "out")
    before = tree(tmp_path)
    rename = os.rename

    def rename_but_new_to_free_place(source: str, target: str) -> None:
        if PARTIAL in source and not os.path.exists(target) and "index.json" in os.listdir(source):
            if tree(Path(source)) != before_out:
                raise OSError(5, "Input/output error")
        rename(source, target)

    before_out = tree(tmp_path / "out")
    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    monkeypatch.setattr(atomic.os, "rename", rename_but_new_to_free_place)
    with pytest.raises(OutputError) as caught:
        write(write_oci_layout, tmp_path / "out", LARGE)
    assert caught.value.reason == "Input/output error"
    assert tree(tmp_path) == before and os.listdir(tmp_path) == ["out"]
