"""Tests of `nixoci.unpacked`: a zip file that goes on from a directory, on each version of Python."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nixoci
import pytest
from nixoci.unpacked import unpack


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core as a zip file."""
    root = Path(nixoci.__file__).parent
    path = tmp_path_factory.mktemp("archive") / "nixoci.pyz"
    with zipfile.ZipFile(path, "w") as file:
        file.write(root / "__main__.py", "__main__.py")
        for source in root.rglob("*.py"):
            file.write(source, f"nixoci/{source.relative_to(root)}")
    return path


def _run(*words: object, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


def _names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as file:
        return set(file.namelist())


def _files(directory: Path) -> set[str]:
    paths = (path for path in directory.rglob("*.py"))
    return {str(path.relative_to(directory)) for path in paths}


def _compiled(directory: Path) -> dict[Path, tuple[int, int]]:
    """Returns inode and time of change of what is compiled."""
    found = {path: path.stat() for path in directory.rglob("*.pyc")}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def test_it_is_unpacked_and_compiled_once(archive: Path, tmp_path: Path) -> None:
    """Then the directory is all that is needed, and nothing is written any more."""
    directory = tmp_path / "with a blank" / "digest"
    first = _run(archive, "--unpack", directory, "split", "--help")
    assert first.returncode == 0, first.stderr
    assert _files(directory) == _names(archive)
    assert os.listdir(directory.parent) == ["digest"]
    assert any("parser" in path.name for path in _compiled(directory))
    second = _run(directory, "split", "--help")
    compiled = _compiled(directory)
    third = _run(directory, "split", "--help")
    assert third.stdout == second.stdout == first.stdout == _run(archive, "split", "--help").stdout
    assert _compiled(directory) == compiled


def test_what_follows_comes_from_the_directory(archive: Path, tmp_path: Path) -> None:
    """Also in the process that unpacks it."""
    directory = tmp_path / "digest"
    result = _run("-v", archive, "--unpack", directory, "split", "--help")
    assert f"# created '{directory}/nixoci/cli/__pycache__/parser." in result.stderr


@pytest.mark.parametrize("parent", ["file", "/proc/none"])
def test_where_nothing_can_be_written(archive: Path, tmp_path: Path, parent: str) -> None:
    """The program runs from the zip file."""
    (tmp_path / "file").write_text("")
    result = _run(archive, "--unpack", tmp_path / parent / "digest", "split", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "usage: nixoci split" in result.stdout


def test_several_at_once(archive: Path, tmp_path: Path) -> None:
    """All succeed, one directory is left."""
    directory = tmp_path / "programs" / "digest"
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: unpack(str(archive), str(directory)), range(8)))
    assert os.listdir(directory.parent) == ["digest"]
    assert _files(directory) == _names(archive)


def test_a_broken_archive(tmp_path: Path) -> None:
    """Nothing of it is left."""
    broken, directory = tmp_path / "broken.pyz", tmp_path / "programs" / "digest"
    broken.write_bytes(b"PK no")
    assert not unpack(str(broken), str(directory))
    assert os.listdir(directory.parent) == []


def test_old_programs_are_removed(archive: Path, tmp_path: Path) -> None:
    """Those of weeks ago, and what was left half-done then; others stay."""
    parent = tmp_path / "programs"
    for name, days in {"old": 15, "tmpabc": 40, "recent": 3}.items():
        (parent / name / "nixoci").mkdir(parents=True)
        when = time.time() - days * 24 * 3600
        os.utime(parent / name, (when, when))
    assert unpack(str(archive), str(parent / "digest"))
    assert set(os.listdir(parent)) == {"recent", "digest"}
