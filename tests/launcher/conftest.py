"""Small repositories with the real launcher in them, and a cache that real first runs made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Sequence

import pytest

from tests.integration.support.interpreters import interpreter_itself

ROOT = Path(__file__).parents[2]

# Prints its arguments one by one and exits with a code that Pants itself never uses.
ECHO_TARGET = """\
run_shell_command(
    name="echo",
    command='printf "<%s>" "$@"; exit 7; :',
    description=env("PLUGIN_VERSION", "none"),
)
"""

CONFIGURATION = """\
[GLOBAL]
pants_version = "2.17.1"
backend_packages = ["pants.backend.shell"]

[anonymous-telemetry]
enabled = false
"""


@dataclass(frozen=True)
class Repository:
    """A repository with the launcher at its root; `cache` is its XDG_CACHE_HOME."""

    root: Path
    cache: Path
    #: A directory with nothing in it but `python3.9`, so that all runs find the same one.
    python_directory: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """This process's environment for a run of the launcher."""
        # Only the cache of the launcher is a new one: pip's stays, or else every run would
        # download Pants again.
        pip_cache = os.environ.get("PIP_CACHE_DIR") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pip"
        )
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PANTS_", "PEX_", "PYTHON", "_PANTS"))
        }
        return {
            **kept,
            "PATH": f"{self.python_directory}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(self.cache),
            "PIP_CACHE_DIR": pip_cache,
            **changes,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts `./pants ARGUMENTS` at the root."""
        return subprocess.Popen(
            ["./pants", *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `command` to its end, whatever its exit code."""
        return subprocess.run(
            command,
            cwd=cwd or self.root,
            env=self.environment() if environment is None else environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
        )

    def stop_daemon(self) -> None:
        """Stops the pantsd that runs of the launcher left behind."""
        for file in self.root.glob(".pids/*/pantsd/pid"):
            os.kill(int(file.read_text()), signal.SIGTERM)


def make_repository(root: Path, cache: Path, python_directory: Path) -> Repository:
    """Makes a repository of the launcher's own files and one target, `//:echo`."""
    for name in ("build-support", "3rdparty/python"):
        # Sandboxes of Pants have no BUILD files; checkouts do.
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("BUILD"))
    (root / "src" / "python").mkdir(parents=True)
    for name in ("pants", "src/python/VERSION"):
        shutil.copy(ROOT / name, root / name)
    (root / "pants.toml").write_text(CONFIGURATION)
    (root / "BUILD").write_text(ECHO_TARGET)
    (root / "some" / "directory").mkdir(parents=True)
    return Repository(root, cache, python_directory)


@dataclass(frozen=True)
class FirstRuns:
    """What two first runs, started at once, ended with."""

    repository: Repository
    exit_codes: tuple[int, ...]
    outputs: tuple[str, ...]
    errors: tuple[str, ...]


@pytest.fixture(scope="session")
def python_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing in it but a `python3.9`, whichever Python runs the tests."""
    directory = tmp_path_factory.mktemp("python")
    (directory / "python3.9").symlink_to(interpreter_itself("3.9"))
    return directory


@pytest.fixture(scope="session")
def first_runs(
    tmp_path_factory: pytest.TempPathFactory, python_directory: Path
) -> Iterator[FirstRuns]:
    """Two concurrent runs of `./pants --version` on a machine without the launcher's cache."""
    directory = tmp_path_factory.mktemp("launcher")
    repository = make_repository(
        directory / "repository", directory / "cache", python_directory
    )
    # Without the daemon, so that the runs share nothing but the set-up.
    processes = [repository.start("--no-pantsd", "--version") for _ in range(2)]
    results = [process.communicate(timeout=240) for process in processes]
    yield FirstRuns(
        repository,
        tuple(process.returncode for process in processes),
        tuple(output for output, _ in results),
        tuple(error for _, error in results),
    )
    repository.stop_daemon()


@pytest.fixture
def repository(first_runs: FirstRuns) -> Repository:
    """A repository whose first run is over."""
    return first_runs.repository
