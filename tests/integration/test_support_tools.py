"""Tools are found, and what is expensive is made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support.cache import cached_directory
from tests.integration.support.debian import apt_configuration
from tests.integration.support.process import CommandFailedError, run
from tests.integration.support.tools import ToolMissingError, tool


def test_tool_is_absolute_also_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons in /usr/sbin are found for somebody whose PATH lacks it."""
    monkeypatch.setenv("PATH", "")
    for name in ("runc", "sh"):
        assert os.path.isabs(tool(name)) and os.access(tool(name), os.X_OK)


def test_missing_tool_is_named() -> None:
    """A program that the installation does not bring is an error that names it."""
    with pytest.raises(ToolMissingError, match="`no-such-program`"):
        tool("no-such-program")


@pytest.mark.parametrize("packages", (("docker.io",), ("docker.io", "docker-cli")))
def test_client_of_docker_is_in_the_package_that_apt_has(
    tmp_path: Path, packages: tuple[str, ...]
) -> None:
    """From Debian 13 on apart from the daemon. If apt is content and the program is not there, that is said."""
    script = Path(__file__).parents[2] / "build-support" / "install-test-tools"
    # What else is missing.
    run([script], timeout=900)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in os.listdir("/usr/bin"):
        if name != "docker":
            (programs / name).symlink_to(f"/usr/bin/{name}")
    state = tmp_path / "apt"
    state.mkdir()
    configuration = apt_configuration(state, packages)
    with configuration.open("a") as file:
        file.write('APT::Get::Simulate "true";\n')
    environment = {"PATH": os.fspath(programs), "APT_CONFIG": os.fspath(configuration)}
    result = run([script], env=environment, timeout=300, check=False)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.endswith(f" and run again: {packages[-1]}.")


def test_failed_command_shows_its_output() -> None:
    """The error has the command, the exit code and both streams."""
    with pytest.raises(CommandFailedError) as failure:
        run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
    assert 3 == failure.value.returncode
    assert "out\nerr\n" == failure.value.output


def test_slow_command_is_killed_with_its_output_kept() -> None:
    """A time-out is an error that still shows what was printed."""
    with pytest.raises(CommandFailedError, match="did not end in time") as failure:
        run(["/bin/sh", "-c", "echo begun; exec sleep 60"], timeout=0.5)
    assert failure.value.returncode is None
    assert "begun\n" == failure.value.output


def test_cached_directory_is_whole_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure while it is being made leaves nothing that a later run takes for complete."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(directory: Path, _final: Path) -> None:
        (directory / "half").touch()
        raise CommandFailedError(["make"], 1, "")

    with pytest.raises(CommandFailedError):
        cached_directory("kind", "name", fail)
    made = cached_directory("kind", "name", lambda directory, _: (directory / "whole").touch())
    assert ["whole"] == os.listdir(made)
    assert {"name", "name.lock"} == set(os.listdir(made.parent))


def test_cached_directory_is_made_once_by_many(tmp_path: Path) -> None:
    """Of processes that want it at the same time one makes it, and all get it complete."""
    script = (
        "import os, time\n"
        "from tests.integration.support.cache import cached_directory\n"
        "def make(directory, final):\n"
        "    print('made', flush=True)\n"
        "    (directory / 'first').touch(); time.sleep(0.3); (directory / 'last').touch()\n"
        "print(*sorted(os.listdir(cached_directory('kind', 'name', make))))\n"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = [process.communicate()[0].decode() for process in processes]
    assert [0] * 4 == [process.returncode for process in processes]
    assert 1 == sum(output.count("made") for output in outputs)
    assert 4 == sum(output.count("first last") for output in outputs)
