"""Images as parts of other builds: what a Dockerfile begins with, and what a command of Pants runs."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support import engines
from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.pex import pex_options
from tests.integration.support.registry import Registry, registry
from tests.integration.support.run_image import left_in

_BACKENDS = ("python", "docker", "shell", "experimental.adhoc")

_OPTIONS = """
[docker]
env_vars = ["DOCKER_HOST", "HOME"]
"""

_BUILD = """\
files(name="program", sources=["busybox"])
nix_package(name="busybox", source="default.nix", dependencies=[":program"])
nix_image(
    name="image",
    packages=[":busybox"],
    entrypoint=["{busybox}/sh", "-c"],
    registries=["@HOST@"],
    repository="acme/base",
    image_tags=["1", "latest"],
)
nix_image_index(
    name="index", images=[":image"], registries=["@HOST@"], repository="acme/index", image_tags=["1"]
)
docker_image(
    name="docker",
    instructions=["ARG BASE=app:FROM", "FROM $BASE", "ENV WORD=from-a-dockerfile"],
    dependencies=[":FROM"],
)
adhoc_tool(
    name="tool",
    runnable=":FROM",
    args=["echo $((6 * 7)) from a container"],
    stdout="made.txt",
    extra_env_vars=["DOCKER_HOST", "PATH"],
)
shell_command(
    name="command",
    command="FROM 'echo through a shim' > made.txt",
    runnable_dependencies=[":FROM"],
    tools=["docker"],
    extra_env_vars=["DOCKER_HOST"],
    output_files=["made.txt"],
)
archive(name="archive", format="tar", files=[":MADE"])
"""


@pytest.fixture(scope="module")
def docker() -> Iterator[engines.Docker]:
    with engines.dockerd() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    repository = Monorepo.create(tmp_path_factory.mktemp("builds"), machine_nix)
    toml = repository.root / "pants.toml"
    more = "".join(f', "pants.backend.{name}"' for name in _BACKENDS)
    text = toml.read_text().replace('"pants_backend_nix"]', f'"pants_backend_nix"{more}]', 1)
    toml.write_text(f"{text}{_OPTIONS}")
    with repository.with_daemon() as running:
        yield running


def _write(monorepo: Monorepo, server: Registry, image: str, made: str = "tool") -> None:
    write_busybox_image(monorepo, "app")
    text = _BUILD.replace("@HOST@", server.host).replace("FROM", image).replace("MADE", made)
    # The word of Docker's, which is no name of ours.
    monorepo.write("app/BUILD", text.replace(f'"{image} $BASE"', '"FROM $BASE"'))


@pytest.mark.parametrize("image", ["image", "index"])
def test_a_dockerfile_begins_with_an_image(
    monorepo: Monorepo, server: Registry, docker: engines.Docker, image: str
) -> None:
    """By its digest: whatever the tags are of, in the registry or in the engine."""
    _write(monorepo, server, image)
    environment = docker.environment()
    monorepo.pants("publish", f"app:{image}", environment=environment)
    # Pants' own parser of Dockerfiles is a PEX file.
    monorepo.pants(*pex_options()[1:], "package", "app:docker", "app:image", environment=environment)
    run = docker.run_image("docker:latest", "echo $WORD")
    assert run.stdout == "from-a-dockerfile\n"
    layers = '{{join .RootFS.Layers " "}}'
    base = monorepo.descriptor("app/image.image.json")
    found = docker.run("inspect", "--format", layers, "docker:latest").stdout.split()
    assert found == [layer["diffId"] for layer in base["layers"]]


@pytest.mark.parametrize("image", ["image", "index"])
@pytest.mark.parametrize(
    "made, text", [("tool", "42 from a container\n"), ("command", "through a shim\n")]
)
def test_a_command_runs_an_image(
    monorepo: Monorepo,
    server: Registry,
    docker: engines.Docker,
    tmp_path: Path,
    image: str,
    made: str,
    text: str,
) -> None:
    """What it needs of the store is realised, no container is left, and its output is a file like others."""
    _write(monorepo, server, image, made)
    monorepo.pants(
        "--nix-images-engine=docker", "package", "app:archive", environment=docker.environment()
    )
    (member,) = _members(monorepo.root / "dist" / "app" / "archive.tar")
    assert member.endswith(text)
    assert left_in(docker)[0] == []


def _members(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return [tar.extractfile(member).read().decode() for member in tar if member.isfile()]  # type: ignore[union-attr]
