"""Tests of the script by which an answer is looked up, in real shells with and without `cat`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from nixoci.batch.answers import answer_file
from nixoci.cli.exit_status import EXIT_NO_NIX, EXIT_NOT_VALID
from pants_backend_nix.rules.core.answers import _LOOK_UP

_KEY = "0" * 64
_TEXT = '{"text": "ü \\\\ \\" $(exit 1)"}'


def _sandbox(directory: Path, *, has_python: bool = True, has_answer: bool = True) -> Path:
    cache = directory / ".nixoci"
    answer = cache / "answers" / answer_file(_KEY)
    answer.parent.mkdir(parents=True)
    if has_python:
        (cache / "python3").symlink_to(sys.executable)
    if has_answer:
        answer.write_text(_TEXT, encoding="utf-8")
    return directory


def _look_up(directory: Path, path: str) -> int:
    command = ("/bin/sh", "-c", _LOOK_UP, "nixoci", answer_file(_KEY))
    return subprocess.run(command, cwd=directory, env={"PATH": path}, check=False).returncode


@pytest.mark.parametrize("path", ("/usr/bin:/bin", "/no-such-path"))
def test_an_answer_that_is_there(tmp_path: Path, path: str) -> None:
    """Some shells know no programs where there is no PATH, as that of NixOS."""
    assert _look_up(_sandbox(tmp_path), path) == 0
    assert (tmp_path / "answer.json").read_text(encoding="utf-8") == _TEXT


@pytest.mark.parametrize(
    "has_python, status", ((True, EXIT_NOT_VALID), (False, EXIT_NO_NIX)), ids=("set up", "bare")
)
def test_no_answer(tmp_path: Path, has_python: bool, status: int) -> None:
    assert _look_up(_sandbox(tmp_path, has_python=has_python, has_answer=False), "/bin") == status
    assert not (tmp_path / "answer.json").exists()
