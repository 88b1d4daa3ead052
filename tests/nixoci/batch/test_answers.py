"""Tests of `nixoci.batch.answers`: where answers are, and how long."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from nixoci.batch.answers import Answers, answer_file, remove_old_answers
from nixoci.errors import InvalidInputError

_LONG = 30 * 24 * 3600


def _key(number: int) -> str:
    return f"{number:064x}"[::-1]


def _make_old(path: Path) -> None:
    then = time.time() - _LONG
    os.utime(path, (then, then))


def test_an_answer_is_where_it_is_looked_for(tmp_path: Path) -> None:
    """Nobody else can read it: sources may be secret. No directory has all of them, as each write looks through its own."""
    for number in range(64):
        Answers(str(tmp_path)).write(_key(number), b"%d" % number)
    assert (tmp_path / answer_file(_key(7))).read_bytes() == b"7"
    assert (tmp_path / answer_file(_key(7))).stat().st_mode & 0o777 == 0o600
    assert max(len(list(part.iterdir())) for part in tmp_path.iterdir()) == 1


def test_a_megabyte_is_told(tmp_path: Path) -> None:
    """The closures of many packages would be too much for one answer; they are read one by one."""
    answers = Answers(str(tmp_path))
    for number in range(5):
        answers.write(_key(number), b"%d" % number * 250_000)
    assert set(answers.told) == {_key(number) for number in range(4)}
    assert (tmp_path / answer_file(_key(4))).stat().st_size == 250_000


@pytest.mark.parametrize("key", ("", "../../escape", "a" * 63, "A" * 64, "a" * 64 + "\n"))
def test_a_key_is_a_digest(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidInputError):
        Answers(str(tmp_path / "answers")).write(key, b"")
    assert not list(tmp_path.iterdir())


def test_old_answers_go_once_a_day(tmp_path: Path) -> None:
    """Those of earlier versions of the plugin too, which had no directories."""
    flat, half = tmp_path / _key(1), tmp_path / "00" / ".nixoci-partial-0"
    for number in (1, 2):
        Answers(str(tmp_path)).write(_key(number), b"")
    half.parent.mkdir(exist_ok=True)
    old = tmp_path / answer_file(_key(1))
    for path in (flat, half):
        path.write_bytes(b"")
    for path in (flat, half, old):
        _make_old(path)
    remove_old_answers(str(tmp_path))
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {_key(2), "swept"}

    # It takes time where there are many, so not every process looks.
    _make_old(tmp_path / answer_file(_key(2)))
    remove_old_answers(str(tmp_path))
    assert (tmp_path / answer_file(_key(2))).exists()
    _make_old(tmp_path / "swept")
    remove_old_answers(str(tmp_path))
    assert not (tmp_path / answer_file(_key(2))).exists()


def test_nothing_to_look_through(tmp_path: Path) -> None:
    remove_old_answers(str(tmp_path / "not-there"))
    assert not list(tmp_path.iterdir())
