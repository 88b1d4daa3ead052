"""`pants run` that is killed: its container ends with it, on a real dockerd."""

from __future__ import annotations

import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import engines
from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.run_image import WAITS, environment_of, left_in, options_of


@pytest.mark.parametrize("signals", ((signal.SIGKILL,), (signal.SIGTERM, signal.SIGKILL)), ids=str)
def test_pants_that_is_killed_leaves_no_container(
    machine_nix: Nix, docker: engines.Docker, tmp_path: Path, signals: tuple[int, ...]
) -> None:
    """Without pantsd, Pants does nothing on SIGTERM until its command ends; whoever waits for it kills it.

    Only of docker: in the namespaces of these tests, podman's containers end with Pants in any case.
    """
    repository = Monorepo.create(tmp_path, machine_nix)
    write_busybox_image(repository, "app")
    with subprocess.Popen(
        repository.command(*options_of(docker), "run", "app:image", "--", f"trap '' INT; {WAITS}"),
        env=repository.environment(environment_of(docker)),
        cwd=repository.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for number in signals:
            process.send_signal(number)
        # It ends when nobody can write there any more: the command has seen to its container.
        ended, _, _ = select.select([process.stdout], [], [], 5)
        for container in left_in(docker)[0] if not ended else ():
            docker.run("rm", "--force", container)
        assert ended and process.stdout.read() == b""
    assert left_in(docker)[0] == []
