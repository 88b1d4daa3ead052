"""File capabilities of an image, as unpacked and in containers."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support import engines
from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.tools import tool

#: Every engine allows it by default. Number 10.
_CAPABILITY = "cap_net_bind_service"
_FIELDS = f"""\
    permissions=[{{"path": "{{busybox}}(/.*)?", "capabilities": ["{_CAPABILITY}"]}}],
    image_tags=["test"],
    output_format="%s",
"""
#: Prints what the shell itself may do.
_SCRIPT = """\
while read name value; do [ $name = CapEff: ] && echo $value; done < /proc/self/status; true"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    """An empty monorepo with pantsd."""
    made = Monorepo.create(tmp_path_factory.mktemp("capabilities"), machine_nix)
    with made.with_daemon() as running:
        yield running


@pytest.fixture(scope="module", params=["oci", "nix2container"])
def monorepo(request: pytest.FixtureRequest, repository: Monorepo) -> Monorepo:
    """A monorepo with images of a static shell that has a capability, one per output format."""
    repository.clear()
    write_busybox_image(repository, "app")
    build = (repository.root / "app/BUILD").read_text()
    package, _, image = build.partition("nix_image(")
    images = "".join(
        "nix_image(" + image.replace('"image"', f'"{name}"').replace(")\n", f",\n{_FIELDS % name})\n")
        for name in ("oci-layout", "docker-archive")
    )
    repository.write("app/BUILD", package + images)
    dialect = f"--nix-images-tar-dialect={request.param}"
    repository.pants(dialect, "package", "app:oci-layout", "app:docker-archive")
    return repository


def _shell(monorepo: Monorepo) -> str:
    config = monorepo.descriptor("app/oci-layout.image.json")["config"]["config"]
    return str(config["Entrypoint"][0])


def test_umoci_unpacks_it(monorepo: Monorepo, tmp_path: Path) -> None:
    """The file has it, and no directory."""
    layout = monorepo.root / "dist/app/oci-layout"
    rootfs = engines.umoci_unpack(layout, "test", tmp_path / "bundle")
    found = run([tool("getcap"), "-r", rootfs]).stdout
    assert found == f"{rootfs}{_shell(monorepo)} {_CAPABILITY}=ep\n"


def test_podman_runs_it(monorepo: Monorepo) -> None:
    """A user who is not root has the capability, and no other."""
    image = f"oci:{monorepo.root}/dist/app/oci-layout:test"
    result = engines.podman_run(image, [_SCRIPT], options=["--user=1000:1000"])
    assert int(result.stdout, 16) == 1 << 10


def test_docker_runs_it(monorepo: Monorepo, docker: engines.Docker) -> None:
    """Likewise; and who is not allowed to have it cannot start the file."""
    image = docker.load(monorepo.root / "dist/app/docker-archive.tar")
    options = ("run", "--rm", "--pull=never", "--network=none", "--user=1000:1000")
    assert int(docker.run(*options, image, _SCRIPT).stdout, 16) == 1 << 10
    refused = docker.run(*options, "--cap-drop=ALL", image, _SCRIPT, check=False)
    assert refused.returncode != 0
    assert "operation not permitted" in refused.stderr.lower()
    without = docker.run(*options, "--security-opt=no-new-privileges", image, _SCRIPT)
    assert int(without.stdout, 16) == 0
