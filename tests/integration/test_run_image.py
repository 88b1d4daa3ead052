"""`pants run` of an image, on a real podman and a real dockerd."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterator, Mapping

import pytest

from tests.integration.support import engines
from tests.integration.support.images import static_busybox
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

_NIX = """\
{ system }:
derivation {
  name = "busybox";
  inherit system;
  program = builtins.path { path = ./busybox; name = "busybox-program"; };
  builder = "/bin/sh";
  args = [ "-ec" "/bin/mkdir $out && /bin/cp $program $out/sh && /bin/chmod +x $out/sh" ];
}
"""

_BUILD = """\
files(name="program", sources=["busybox"])
nix_package(name="busybox", source="default.nix", dependencies=[":program"])
nix_image(name="image", packages=[":busybox"], entrypoint=["{busybox}/sh", "-c"])
"""


@dataclasses.dataclass(frozen=True)
class Engine:
    """:param prefix: of the commands that use it; `environment` likewise."""

    name: str
    prefix: tuple[str, ...]
    environment: Mapping[str, str]


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine without images."""
    if request.param == "podman":
        with engines.podman() as podman:
            names = ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "TMPDIR")
            environment = {name: podman.environment()[name] for name in names}
            yield Engine("podman", tuple(podman.command()), environment)
    else:
        with engines.dockerd() as docker:
            yield Engine("docker", (), {"DOCKER_HOST": docker.host})


@pytest.fixture(scope="module")
def monorepo(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix
) -> Monorepo:
    """A monorepo with one image of a static shell."""
    repository = Monorepo.create(tmp_path_factory.mktemp("run"), machine_nix)
    repository.write("app/default.nix", _NIX)
    repository.write("app/BUILD", _BUILD)
    shutil.copyfile(static_busybox(), repository.root / "app/busybox")
    return dataclasses.replace(
        repository, nix=dataclasses.replace(machine_nix, prefix=engine.prefix)
    )


def _options(engine: Engine, *run_args: str) -> tuple[str, ...]:
    network = ("--network=none", *run_args)
    return (f"--nix-images-engine={engine.name}", f"--nix-images-run-args={' '.join(network)}")


def test_output_and_exit_code(monorepo: Monorepo, engine: Engine) -> None:
    """What the container prints and how it ends; arguments, options of the engine, environment."""
    run = monorepo.pants(
        *_options(engine, "--env=GREETING"),
        "run",
        "app:image",
        "--",
        'echo "$GREETING, $0 $1"; exit 7',
        "one",
        "two words",
        check=False,
        environment={**engine.environment, "GREETING": "good day"},
    )
    assert run.stdout == "good day, one two words\n"
    assert run.result.returncode == 7
    again = monorepo.pants(
        *_options(engine), "run", "app:image", "--", "echo again", environment=engine.environment
    )
    assert again.stdout == "again\n"
    assert again.processes("Digest", "Build", "Evaluate") == ()
