"""Programs on files: what comes of them, and what they see."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from nixoci.cli.main import main
from nixoci.program.run import (
    ProgramMissingError,
    ProgramNotStartedError,
    ProgramRun,
    run_on_files,
)
from nixoci.store.nix import Nix


def _no_nix() -> Nix:
    raise AssertionError("Nix is not needed")


def _run(tmp_path: Path, *places: str, script: str) -> dict[str, Any]:
    run = ProgramRun(places, False, ("-c", script), str(tmp_path))
    return json.loads(run_on_files(run, _no_nix))


def test_what_it_says_and_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "secret")
    script = "echo ä > x.nix; echo said; echo of $(env | sort | cut -d= -f1) >&2; cat; exit 3"
    report = _run(tmp_path, "/nosuch/sh", "/bin/sh", script=script)
    assert report == {"status": 3, "stdout": "said\n", "stderr": "of LC_ALL NO_COLOR PATH PWD PYTHONDONTWRITEBYTECODE\n"}
    assert (tmp_path / "x.nix").read_text() == "ä\n"


def test_what_is_no_text(tmp_path: Path) -> None:
    report = _run(tmp_path, "/bin/sh", script=r"printf '\377'; kill -9 $$")
    assert report == {"status": -9, "stdout": "\ufffd", "stderr": ""}


def test_what_is_not_there_or_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissingError, match="no program at /nosuch/a or /nosuch/b"):
        _run(tmp_path, "/nosuch/a", "/nosuch/b", script="")
    (tmp_path / "program").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "program").chmod(0o755)
    with pytest.raises(ProgramNotStartedError, match="Exec format error"):
        _run(tmp_path, str(tmp_path / "program"), script="")


def test_a_store_path_must_be_valid(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever there is on the disk: the command says so with a status of its own."""
    monkeypatch.chdir(tmp_path)
    place = "/nix/store/00000000000000000000000000000000-nosuch/bin/x"
    document = {"places": [place], "in_store": True, "arguments": [], "directory": "."}
    Path("run.json").write_text(json.dumps(document))
    assert main(["--json-errors", "run-program", "run.json"]) == 75
    assert json.loads(capfd.readouterr().out)["error"] == "InvalidPathError"


def test_the_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status of the program is a result like others."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("files")
    words = ["-I", "-S", "-c", "import os, sys; print(os.path.basename(os.getcwd())); sys.exit(1)"]
    document = {"places": [sys.executable], "in_store": False, "arguments": words, "directory": "files"}
    Path("run.json").write_text(json.dumps(document))
    assert main(["run-program", "--output=report.json", "run.json"]) == 0
    report = json.loads(Path("report.json").read_bytes())
    assert report == {"status": 1, "stdout": "files\n", "stderr": ""}
    Path("run.json").write_text(json.dumps({**document, "places": "x"}))
    assert main(["run-program", "run.json"]) == 1
    assert "expected list" in capfd.readouterr().err
