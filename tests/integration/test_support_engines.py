"""The engines and registries that the other integration tests rely on really run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.integration.support import engines, process
from tests.integration.support.images import HELLO, write_hello_layout
from tests.integration.support.registry import PASSWORD, USER, LoggedRequest, Registry


def test_umoci_and_bubblewrap(hello_layout: Path, tmp_path: Path) -> None:
    """umoci unpacks the image, and its shell runs in bubblewrap."""
    root = engines.umoci_unpack(hello_layout, "latest", tmp_path / "bundle")
    result = engines.run_in_bwrap(root, ["/bin/sh", "-c", 'echo "$word"'], env={"word": "hello"})
    assert "hello\n" == result.stdout


def test_bubblewrap_hides_the_machine(hello_layout: Path, tmp_path: Path) -> None:
    """A program in bubblewrap sees the root file system alone, and cannot change it."""
    root = engines.umoci_unpack(hello_layout, "latest", tmp_path / "bundle")
    # The shell of busybox finds busybox's own programs only through /proc.
    (root / "proc").mkdir()
    assert "bin\nproc\n" == engines.run_in_bwrap(root, ["/bin/sh", "-c", "busybox ls /"]).stdout
    with pytest.raises(process.CommandFailedError, match="Read-only file system"):
        engines.run_in_bwrap(root, ["/bin/sh", "-c", "echo > /file"])


def test_podman_runs_a_layout(hello_layout: Path) -> None:
    """podman runs the image straight from the layout, with its own or with another command."""
    assert f"{HELLO}\n" == engines.podman_run(f"oci:{hello_layout}:latest").stdout
    result = engines.podman_run(f"oci:{hello_layout}:latest", ["exit 7"], check=False)
    assert 7 == result.returncode


def test_podman_leaves_nothing(hello_layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither directories nor mounts outlive a container."""
    # podman refuses long paths, such as those of `tmp_path`.
    with tempfile.TemporaryDirectory() as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        engines.podman_run(f"oci:{hello_layout}:latest")
        assert [] == os.listdir(temporary)
        # All that it mounts is there; other tests mount something elsewhere at the same time.
        assert temporary not in Path("/proc/mounts").read_text()


def test_docker_loads_and_runs(docker: engines.Docker, hello_layout: Path, tmp_path: Path) -> None:
    """docker loads an archive that skopeo made, and runs it."""
    archive = tmp_path / "hello.tar"
    engines.skopeo("copy", f"oci:{hello_layout}:latest", f"docker-archive:{archive}:hello:1")
    image = docker.load(archive)
    assert "hello:1" == image
    assert f"{HELLO}\n" == docker.run_image(image).stdout


def test_docker_pulls(docker: engines.Docker, plain_registry: Registry, hello_layout: Path) -> None:
    """docker pulls and runs from a plain registry on the loopback interface."""
    reference = f"{plain_registry.host}/team/hello:1"
    copy = ("copy", "--dest-tls-verify=false", f"oci:{hello_layout}:latest")
    engines.skopeo(*copy, f"docker://{reference}")
    docker.run("pull", "--quiet", reference)
    assert f"{HELLO}\n" == docker.run_image(reference).stdout


def test_registry_logs_what_it_was_asked(plain_registry: Registry, tmp_path: Path) -> None:
    """The log counts uploads: each blob once, none at the second push, and never the test's own."""
    assert [] == plain_registry.requests()
    layout = write_hello_layout(tmp_path / "layout", layers=3)
    copy = (
        *("copy", "--preserve-digests", "--dest-tls-verify=false"),
        *(f"oci:{layout}:latest", f"docker://{plain_registry.host}/hello:1"),
    )
    engines.skopeo(*copy)
    # Three layers and the image config.
    assert 4 == len(plain_registry.requests("PUT", "/v2/hello/blobs/uploads/"))
    manifest = LoggedRequest("PUT", "/v2/hello/manifests/1", 201)
    assert [manifest] == plain_registry.requests("PUT", "/manifests/")
    engines.skopeo(*copy)
    assert 4 == len(plain_registry.requests("PUT", "/v2/hello/blobs/uploads/"))
    assert [manifest] * 2 == plain_registry.requests("PUT", "/manifests/")


def test_secure_registry_wants_tls_and_the_account(
    secure_registry: Registry, hello_layout: Path, tmp_path: Path
) -> None:
    """A push works with the certificate and the account, and fails when either is missing."""
    assert secure_registry.certificate is not None
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "ca.crt").write_bytes(secure_registry.certificate.read_bytes())
    account = secure_registry.write_docker_config(tmp_path / "docker")
    trusting, knowing = f"--dest-cert-dir={trust}", f"--authfile={account}"
    images = (f"oci:{hello_layout}:latest", f"docker://{secure_registry.host}/hello:1")
    engines.skopeo("copy", trusting, knowing, *images)
    with pytest.raises(process.CommandFailedError, match="certificate signed by unknown authority"):
        engines.skopeo("copy", knowing, *images)
    nobody = tmp_path / "nobody.json"
    nobody.write_text("{}")
    with pytest.raises(process.CommandFailedError, match="authentication required"):
        engines.skopeo("copy", trusting, f"--authfile={nobody}", *images)
    assert [401] == [r.status for r in secure_registry.requests("GET", "^/v2/$")][-1:]
    credentials = f"--creds={USER}:{PASSWORD}"
    engines.skopeo("inspect", f"--cert-dir={trust}", credentials, images[1])


@pytest.mark.parametrize("start", ["engines.dockerd()", "registry.registry(Path(sys.argv[1]))"])
def test_daemons_die_with_a_killed_test(start: str) -> None:
    """Whatever ends the test process, its daemon does not outlive it."""
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from tests.integration.support import engines, registry\n"
        f"with {start}:\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    # Nobody clears up after a killed process, so its temporary files go where this test does.
    with tempfile.TemporaryDirectory() as temporary:
        python_path = os.pathsep.join(sys.path)
        environment = {**os.environ, "PYTHONPATH": python_path, "TMPDIR": temporary}
        argv = [sys.executable, "-c", script, f"{temporary}/registry"]
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE) as test:
            assert test.stdout is not None and b"ready\n" == test.stdout.readline()
            children = Path(f"/proc/{test.pid}/task/{test.pid}/children").read_text().split()
            assert 1 == len(children)
            test.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while _runs(children[0]):
            assert time.monotonic() < deadline, "the daemon is still there"
            time.sleep(0.1)


def _runs(process_id: str) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    # An orphan that nobody has waited for yet (the first process of a container may never do it)
    # is a zombie: state Z, after the name in parentheses.
    return status.rpartition(")")[2].split()[0] != "Z"
