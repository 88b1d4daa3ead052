"""Tests of `nixoci.image.written`: what was written is told from what somebody has touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Callable

import pytest
from nixoci.image.archive import write_docker_archive, write_oci_archive
from nixoci.image.layout import write_oci_layout
from nixoci.image.written import is_written, note_written

from tests.nixoci.image.layout_support import known_image

WRITERS = [write_oci_layout, write_oci_archive, write_docker_archive]


def _write(writer: Callable[..., int], output: Path, record: Path, content: bytes = b"x") -> None:
    known = known_image(content, b"y" * 5000)
    inode = writer(str(output), known.image, known.recipes, known.write_layer)
    note_written(str(record), str(output), "key", inode)


def _file(output: Path) -> Path:
    """Returns the output, or of a layout the largest blob."""
    if output.is_file():
        return output
    return max((output / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)


def _same_times(path: Path, change: Callable[[Path], object]) -> None:
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"#")


def _replace(path: Path) -> None:
    """By a copy with the same bytes and times."""
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def _link(output: Path) -> None:
    output.rename(output.with_name("y"))
    output.symlink_to("y")


TOUCHES: dict[str, Callable[[Path], object]] = {
    "touch": lambda output: _file(output).touch(),
    "truncate": lambda output: os.truncate(_file(output), 100),
    "append": lambda output: _file(output).open("ab").write(b"#"),
    "overwrite": lambda output: _same_times(_file(output), _overwrite),
    "copy": lambda output: _replace(_file(output)),
    "chmod": lambda output: _file(output).chmod(0o600),
    "delete": lambda output: _file(output).unlink(),
    "link": _link,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_nobody_has_touched(tmp_path: Path, writer: Callable[..., int]) -> None:
    output, record = tmp_path / "x", tmp_path / "deep" / "record"
    assert not is_written(str(record), str(output), "key")
    _write(writer, output, record)
    assert is_written(str(record), str(output), "key")
    assert not is_written(str(record), str(output), "another key")
    assert not is_written(str(record), str(tmp_path / "other"), "key")
    _file(output).read_bytes()
    assert is_written(str(record), str(output), "key")
    # A layout takes its layers over from the one before.
    _write(writer, output, record)
    assert is_written(str(record), str(output), "key")
    _write(writer, output, record, b"another")
    assert is_written(str(record), str(output), "key")


@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_somebody_has_touched(
    tmp_path: Path, writer: Callable[..., int], touch: str
) -> None:
    output, record = tmp_path / "x", tmp_path / "record"
    _write(writer, output, record)
    TOUCHES[touch](output)
    assert not is_written(str(record), str(output), "key")


@pytest.mark.parametrize("name", ["blobs/sha256/more", "more", "blobs/more/more"])
def test_what_is_in_a_layout_besides(tmp_path: Path, name: str) -> None:
    output, record = tmp_path / "x", tmp_path / "record"
    _write(write_oci_layout, output, record)
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).touch()
    assert not is_written(str(record), str(output), "key")


@pytest.mark.parametrize("writer", WRITERS)
def test_what_another_program_has_put_there(tmp_path: Path, writer: Callable[..., int]) -> None:
    """Before it could be remembered: it is not taken for what this one wrote."""
    output, record = tmp_path / "x", tmp_path / "record"
    known = known_image(b"x")
    inode = writer(str(output), known.image, known.recipes, known.write_layer)
    (tmp_path / "kept").mkdir()
    output.rename(tmp_path / "kept" / "x")
    other = known_image(b"other")
    writer(str(output), other.image, other.recipes, other.write_layer)
    note_written(str(record), str(output), "key", inode)
    assert not is_written(str(record), str(output), "key")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"key":"key","entries":null}'])
def test_records_that_are_none(tmp_path: Path, content: bytes) -> None:
    output, record = tmp_path / "x", tmp_path / "record"
    _write(write_oci_archive, output, record)
    record.write_bytes(content)
    assert not is_written(str(record), str(output), "key")
    assert not is_written(str(record), str(tmp_path / "absent"), "key")


def test_no_place_for_the_record(tmp_path: Path) -> None:
    """Then it is written again the next time, which is no error."""
    (tmp_path / "file").touch()
    _write(write_oci_archive, tmp_path / "x", tmp_path / "file" / "record")
    assert not is_written(str(tmp_path / "file" / "record"), str(tmp_path / "x"), "key")
