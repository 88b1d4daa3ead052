"""A closure with real references becomes an image in every format, and runs in every engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.support import engines
from tests.integration.support.debian_monorepo import write_debian_images
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

#: Uses C libraries of three store paths besides Python's own.
_PROGRAM = "import sys, zlib, ssl, os; print(sys.version_info[:2], zlib.crc32(b'x'), os.getcwd())"
_OUTPUT = "(3, 11) 2363233923 /nix\n"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Path:
    """The directory dist/app of a monorepo whose images were all packaged."""
    repository = Monorepo.create(tmp_path_factory.mktemp("formats"), machine_nix)
    write_debian_images(repository)
    run = repository.pants("package", "app::")
    # Layers of the four images, and of the layer target itself, have the same recipes.
    assert len(run.processes("Digest")) == len(set(run.processes("Digest")))
    return repository.root / "dist" / "app"


def _descriptor(dist: Path, name: str) -> dict:
    return json.loads((dist / name).read_text())


def test_all_formats_are_the_same_image(dist: Path) -> None:
    """The format is no part of an image, nor is the name of its target: there is one digest."""
    names = ("descriptor", "oci-layout", "oci-archive", "docker-archive")
    descriptors = [_descriptor(dist, f"{name}.image.json") for name in names]
    assert len({descriptor["digest"] for descriptor in descriptors}) == 1
    runtime = json.loads((dist / "runtime.layer.json").read_text())
    digests = [layer["digest"] for layer in descriptors[0]["layers"]]
    assert digests[: len(runtime["layers"])] == [layer["digest"] for layer in runtime["layers"]]


@pytest.mark.parametrize(
    "reference,name",
    (
        ("oci:{dist}/oci-layout:1.0", "oci-layout.image.json"),
        ("oci-archive:{dist}/oci-archive.tar:1.0", "oci-archive.image.json"),
        ("docker-archive:{dist}/docker-archive.tar:acme/docker-archive:1.0", None),
    ),
)
def test_skopeo_inspects(dist: Path, reference: str, name: str | None) -> None:
    """skopeo finds manifest, config and layers as the descriptor says."""
    reference = reference.format(dist=dist)
    config = json.loads(engines.skopeo("inspect", "--config", reference).stdout)
    found = json.loads(engines.skopeo("inspect", reference).stdout)
    expected = _descriptor(dist, name or "docker-archive.image.json")
    assert config["config"]["Entrypoint"][0].endswith("/bin/python3")
    assert config["config"]["Env"] == ["GREETING=good day"]
    assert found["Layers"] == [layer["digest"] for layer in expected["layers"]]
    if name:
        assert found["Digest"] == expected["digest"]


def test_umoci_unpacks_and_bubblewrap_runs(dist: Path, tmp_path: Path) -> None:
    root = engines.umoci_unpack(dist / "oci-layout", "1.0", tmp_path / "bundle")
    entrypoint = _descriptor(dist, "oci-layout.image.json")["config"]["config"]["Entrypoint"]
    result = engines.run_in_bwrap(root, [*entrypoint, _PROGRAM.replace("os.getcwd()", "'/nix'")])
    assert result.stdout == _OUTPUT


@pytest.mark.parametrize("reference", ("oci:{dist}/oci-layout:1.0", "oci-archive:{dist}/oci-archive.tar:1.0"))
def test_podman_runs(dist: Path, reference: str) -> None:
    result = engines.podman_run(reference.format(dist=dist), [_PROGRAM])
    assert result.stdout == _OUTPUT


def test_docker_loads_and_runs(dist: Path, docker: engines.Docker) -> None:
    """An old dockerd loads the docker-archive under both tags and runs it."""
    docker.load(dist / "docker-archive.tar")
    for tag in ("1.0", "latest"):
        result = docker.run_image(f"acme/docker-archive:{tag}", _PROGRAM)
        assert result.stdout == _OUTPUT


def test_only_what_was_asked_for_is_in_dist(dist: Path) -> None:
    """Nothing half-written and no layer archive is left beside the outputs."""
    assert sorted(path.name for path in dist.iterdir()) == [
        "descriptor.image.json",
        "docker-archive.image.json",
        "docker-archive.tar",
        "oci-archive.image.json",
        "oci-archive.tar",
        "oci-layout",
        "oci-layout.image.json",
        "runtime.layer.json",
    ]
