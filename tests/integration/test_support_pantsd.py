"""The daemon of a monorepo: one for all of its runs, which ends with the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.pantsd import pantsd_processes


def test_one_daemon_for_all_runs(tmp_path: Path, machine_nix: Nix) -> None:
    """Other options and another environment start no other one, and nothing is left of it."""
    monorepo = Monorepo.create(tmp_path, machine_nix)
    with monorepo.with_daemon() as running:
        first = running.pants("list", "::")
        assert "nitializing scheduler" in first.stderr
        (process,) = pantsd_processes(monorepo.root)
        for goal, environment in (("list", {"BRANCH": "x"}), ("no-such-goal", {})):
            more = running.pants(
                "--nix-images-engine=podman", goal, "::", check=False, environment=environment
            )
            assert (more.result.returncode != 0) == (goal != "list")
            # That would solve the graph of rules again.
            assert "nitializing scheduler" not in more.stderr
            assert pantsd_processes(monorepo.root) == (process,)
    assert not runs(process)


def test_the_daemon_dies_with_a_killed_test() -> None:
    """And with the whole process group of the test, which is what Pants kills."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.integration.support.monorepo import Monorepo\n"
        "from tests.integration.support.nix import machine_nix\n"
        "from tests.integration.support.pantsd import pantsd_processes\n"
        "monorepo = Monorepo.create(Path(sys.argv[1]), machine_nix())\n"
        "with monorepo.with_daemon() as running:\n"
        "    running.pants('list', '::')\n"
        "    print(*pantsd_processes(monorepo.root), flush=True)\n"
        "    time.sleep(600)\n"
    )
    # Nobody clears up after a killed process, so its files go where this test does.
    with tempfile.TemporaryDirectory() as temporary:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": temporary}
        with subprocess.Popen(
            [sys.executable, "-c", script, temporary],
            env=environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as test:
            assert test.stdout is not None
            (process,) = map(int, test.stdout.readline().split())
            assert runs(process)
            os.killpg(test.pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while runs(process):
            assert time.monotonic() < deadline, "pantsd is still there"
            time.sleep(0.1)


def runs(process: int) -> bool:
    """Whether a process is there and is no zombie, whose command line is empty."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
