"""Tests of `nixoci.atomic`: outputs that are no regular files, or no names of any."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import nixoci
import pytest
from nixoci.atomic import OutputError, replace_directory, replace_file, replace_link


def write(path: Path | str, content: bytes = b"new", **options: bool) -> None:
    with replace_file(str(path), **options) as file:
        file.write(content)


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    """And stays one; its reader gets the contents."""
    os.mkfifo(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    write(tmp_path / "out", b"x" * 1000)
    assert os.read(reader, 2000) == b"x" * 1000
    assert stat.S_ISFIFO((tmp_path / "out").stat().st_mode)
    os.close(reader)
    # A reader that goes away makes it an error.
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OutputError, match="Broken pipe"), replace_file(str(tmp_path / "out")) as file:
        os.close(reader)
        file.write(b"x")


@pytest.mark.parametrize("way", ["device", "link"])
def test_a_device_is_written_into(tmp_path: Path, way: str) -> None:
    """`/dev/null` stays what it is, under whatever name."""
    path = tmp_path / "null"
    null = os.stat("/dev/null")
    if way == "device":
        os.mknod(path, 0o666 | stat.S_IFCHR, null.st_rdev)
    else:
        path.symlink_to("/dev/null")
    write(path)
    assert path.stat().st_rdev == null.st_rdev and path.is_symlink() == (way == "link")
    assert os.listdir(tmp_path) == ["null"] and stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_full_device_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "full")
    assert caught.value.reason == "No space left on device" and (tmp_path / "full").is_symlink()


@pytest.mark.parametrize("kind", ["block device", "socket", "directory"])
def test_what_cannot_be_written_into_is_refused(tmp_path: Path, kind: str) -> None:
    """And is still there."""
    path = tmp_path / "out"
    if kind == "block device":
        os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, 250))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        path.mkdir()
    before = path.stat()
    with pytest.raises(OutputError):
        write(path)
    assert path.stat() == before and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_link_is_followed(tmp_path: Path, exists: bool) -> None:
    """To the end of several; the file is replaced where it is, and the links stay."""
    (tmp_path / "there").mkdir()
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("there/file")
    if exists:
        (tmp_path / "there" / "file").write_bytes(b"old")
    write(tmp_path / "one")
    assert (tmp_path / "there" / "file").read_bytes() == b"new"
    assert os.readlink(tmp_path / "one") == "two" and os.readlink(tmp_path / "two") == "there/file"
    assert sorted(os.listdir(tmp_path)) == ["one", "there", "two"]
    assert os.listdir(tmp_path / "there") == ["file"]


def test_a_link_in_a_circle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("out")
    with pytest.raises(OutputError, match="Too many levels of symbolic links"):
        write(tmp_path / "out")


def test_a_file_that_others_read_is_never_half(tmp_path: Path) -> None:
    """Whoever has the old one open keeps it, and a failure leaves it."""
    path = tmp_path / "out"
    path.write_bytes(b"old contents")
    with path.open("rb") as old:
        write(path)
        assert old.read() == b"old contents"
    with pytest.raises(ZeroDivisionError), replace_file(str(path)) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["out"]


def test_permissions(tmp_path: Path) -> None:
    """Those of the old file stay; of a private one only its owner has any."""
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o644)
    write(path, private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("context", [replace_file, replace_directory])
def test_an_empty_name_is_none(tmp_path: Path, context, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the working directory."""
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    with pytest.raises(OutputError, match="An output cannot be written: its name is empty."):
        with context(""):
            pass
    assert tmp_path.stat().st_ino == inode and os.listdir(tmp_path) == []


def test_a_link_takes_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"old")
    (tmp_path / "two").symlink_to("nowhere")
    (tmp_path / "three").mkdir()
    for name in ("one", "two", "new"):
        replace_link(str(tmp_path / name), "/target")
        assert os.readlink(tmp_path / name) == "/target"
    with pytest.raises(OutputError, match="Is a directory"):
        replace_link(str(tmp_path / "three"), "/target")
    assert sorted(os.listdir(tmp_path)) == ["new", "one", "three", "two"]


_PROGRAM = """
import sys
from nixoci.atomic import replace_file
with replace_file(sys.argv[1]) as file:
    file.write(b"new")
"""


@pytest.mark.parametrize("kind", ["pipe", "file", "deleted"])
def test_standard_output_by_its_name(tmp_path: Path, kind: str) -> None:
    """As `/dev/stdout` it is a link into `/proc`; what that leads to may have no name."""
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    path = tmp_path / "out"
    read, write = os.pipe() if kind == "pipe" else (-1, os.open(path, os.O_RDWR | os.O_CREAT))
    if kind == "deleted":
        path.unlink()
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(link)],
        env={"PYTHONPATH": str(Path(nixoci.__file__).parents[1])},
        stdout=write,
        check=True,
    )
    if kind == "file":
        assert path.read_bytes() == b"new" and sorted(os.listdir(tmp_path)) == ["out", "stdout"]
    else:
        assert kind == "pipe" or os.pread(write, 10, 0) == b"new"
        assert os.listdir(tmp_path) == ["stdout"]
    assert link.is_symlink()
    os.close(write)
    if kind == "pipe":
        assert os.read(read, 10) == b"new"
        os.close(read)
