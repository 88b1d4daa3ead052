"""The set-up that `./pants` does once."""

from __future__ import annotations

import hashlib
import re
import runpy
import sys
from pathlib import Path

from tests.launcher.conftest import ROOT, FirstRuns, make_repository


def test_concurrent_first_runs_make_one_virtualenv(first_runs: FirstRuns) -> None:
    """Both of two concurrent first runs work, one of them does the set-up, nothing else stays."""
    assert first_runs.exit_codes == (0, 0), first_runs.errors
    assert first_runs.outputs == ("2.17.1\n", "2.17.1\n")
    assert "".join(first_runs.errors).count("Setting up Pants 2.17.1") == 1

    environments = first_runs.repository.cache / "pants-backend-nix"
    directories = [path for path in environments.iterdir() if path.is_dir()]
    assert len(directories) == 1
    assert [path.name for path in environments.iterdir() if path.is_file()] == [
        f"{directories[0].name}.lock"
    ]


def test_pex_is_announced_with_its_own_hash(first_runs: FirstRuns) -> None:
    """What Pants is told of the PEX file is its real place, SHA-256 and size."""
    (pex,) = first_runs.repository.cache.glob("pants-backend-nix/pants-*/pex")
    variables = (pex.parent / "launcher.sh").read_text()
    content = pex.read_bytes()
    assert f"file://{pex}" in variables
    assert f"|linux_x86_64|{hashlib.sha256(content).hexdigest()}|{len(content)}" in variables


def test_programs_of_the_virtualenv_run(first_runs: FirstRuns) -> None:
    """Though it was made in another place: each names the final one, and `bin/pants` is Pants."""
    (directory,) = first_runs.repository.cache.glob("pants-backend-nix/pants-*/bin")
    programs = [file for file in directory.iterdir() if file.is_file() and not file.is_symlink()]
    assert {"pants", "pip", "activate"} <= {file.name for file in programs}
    assert [file.name for file in programs if b".tmp-" in file.read_bytes()] == []
    result = first_runs.repository.run([directory / "pants", "--no-pantsd", "--version"])
    assert (result.returncode, result.stdout) == (0, "2.17.1\n"), result.stderr


def test_lost_interpreter_makes_the_virtualenv_incomplete(tmp_path: Path) -> None:
    """A cached virtualenv whose interpreter has gone is not taken for a good one."""
    bootstrap = runpy.run_path(str(ROOT / "build-support" / "bootstrap_pants.py"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "launcher.sh").touch()
    python = tmp_path / "bin" / "python"

    python.symlink_to(sys.executable)
    assert bootstrap["is_complete"](tmp_path)

    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert not bootstrap["is_complete"](tmp_path)


def test_wrong_hash_stops_the_set_up(tmp_path: Path, python_directory: Path) -> None:
    """A package that is not the locked one ends in a sentence and leaves no virtualenv."""
    repository = make_repository(tmp_path / "repository", tmp_path / "cache", python_directory)
    lock = repository.root / "3rdparty" / "python" / "pants.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text()))

    result = repository.run(["./pants", "--no-pantsd", "--version"])

    assert result.returncode == 1
    assert result.stdout == ""
    assert "Setting up Pants failed: " in result.stderr
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path for path in (tmp_path / "cache").glob("*/*") if path.is_dir()] == []
