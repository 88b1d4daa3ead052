"""Tests of `nixoci.temporary`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nixoci.temporary import temporary_directory


def test_files_are_there_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under their real path, for nobody else."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "link"))
    with temporary_directory({"one": "ü", "two": ""}) as directory:
        assert Path(directory).parent == tmp_path / "real"
        assert (Path(directory) / "one").read_text(encoding="utf-8") == "ü"
        assert os.stat(directory).st_mode & 0o777 == 0o700
    assert not list((tmp_path / "real").iterdir())


def test_what_others_leave_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(ZeroDivisionError), temporary_directory({"one": ""}) as directory:
        os.unlink(os.path.join(directory, "one"))
        os.makedirs(os.path.join(directory, "more", "below"))
        _ = 1 / 0
    assert not list(tmp_path.iterdir())
    with temporary_directory({}) as directory:
        os.rmdir(directory)


def test_a_place_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is taken, as `tempfile` does."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    with temporary_directory({"one": "1"}) as directory:
        assert os.listdir(directory) == ["one"]


def test_a_name_that_leads_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be made leaves nothing behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(FileNotFoundError), temporary_directory({"no/such": ""}):
        pass
    assert not list(tmp_path.iterdir())
