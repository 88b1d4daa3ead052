"""Compressed images: registries keep them, engines run them, and every Python makes the same."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Iterator, Mapping

import pytest
from nixoci.compression.formats import FORMATS, Compression

from tests.integration.support import engines
from tests.integration.support.compressors import python_with_compressors
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.registry import Registry, registry
from tests.integration.support.store_images import (
    GREETING,
    StoreImage,
    nixoci,
    nixoci_command,
    nixoci_environment,
    requested_layers,
    write_store_image,
)

_SOURCES = Path(__file__).parents[2] / "src" / "python"


@pytest.fixture(scope="module", params=FORMATS)
def image(
    request: pytest.FixtureRequest, machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory
) -> StoreImage:
    """An image of a format, of which nobody else has a layer."""
    word = uuid.uuid4().hex.encode()
    lines = b"".join(b"%d %s\n" % (number, word) for number in range(300_000))
    return write_store_image(
        machine_nix,
        tmp_path_factory.mktemp(request.param),
        data={"large": lines + os.urandom(3_000_000), "small": word},
        compression=Compression.create(request.param),
    )


@pytest.fixture
def other_registry(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path / "other") as running:
        yield running


def _format(image: StoreImage) -> str:
    (name,) = {layer["compression"]["format"] for layer in image.document["layers"]}
    return str(name)


def _sizes(image: StoreImage) -> Mapping[str, int]:
    layers = image.document["layers"]
    return {
        "blobs": sum(layer["size"] for layer in layers),
        "tars": sum(layer["compression"]["tarSize"] for layer in layers),
    }


def test_registries_have_it_as_it_is(
    machine_nix: Nix,
    image: StoreImage,
    plain_registry: Registry,
    other_registry: Registry,
    tmp_path: Path,
) -> None:
    """A second push sends nothing, and skopeo copies the image on without changing a byte."""
    name = f"{plain_registry.host}/acme/api:1"
    nixoci(machine_nix, "push", image.descriptor, name)
    layers = len(image.layers)
    assert len(plain_registry.requests("PUT", "/blobs/uploads/")) == layers + 1
    start = len(plain_registry.requests())
    nixoci(machine_nix, "push", image.descriptor, name)
    assert {request.method for request in plain_registry.requests()[start:]} == {"HEAD"}
    sizes = _sizes(image)
    assert sizes["blobs"] < sizes["tars"] * 0.8

    copy = f"{other_registry.host}/acme/copy:1"
    options = ("--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests")
    engines.skopeo("copy", *options, f"docker://{name}", f"docker://{copy}")
    raw = engines.skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{copy}").stdout
    assert json.loads(raw) == image.document["manifest"]
    engines.skopeo("copy", "--src-tls-verify=false", f"docker://{copy}", f"dir:{tmp_path}/dir")
    manifest = json.loads((tmp_path / "dir" / "manifest.json").read_text())
    assert [layer["digest"] for layer in manifest["layers"]] == list(image.layers)


def test_podman_pulls_and_runs_it(
    machine_nix: Nix, image: StoreImage, plain_registry: Registry
) -> None:
    """And the image's ID is that of its config, as always."""
    name = f"{plain_registry.host}/acme/api:1"
    nixoci(machine_nix, "push", image.descriptor, name)
    result = engines.podman_run(f"docker://{name}", options=["--tls-verify=false"])
    assert result.stdout.strip() == GREETING


def test_docker_pulls_gzip_and_zstd_from_23_on(
    machine_nix: Nix, image: StoreImage, plain_registry: Registry, docker: engines.Docker
) -> None:
    """Docker 20.10 takes the blobs of zstd for tars, and says that they are none."""
    name = f"{plain_registry.host}/acme/api:1"
    nixoci(machine_nix, "push", image.descriptor, name)
    major = int(docker.run("version", "--format", "{{.Server.Version}}").stdout.split(".")[0])
    result = docker.run("pull", "--quiet", name, check=False)
    if _format(image) == "zstd" and major < 23:
        assert result.returncode != 0
        assert "invalid tar header" in result.stderr
    else:
        assert result.returncode == 0, result.stderr
        assert docker.run_image(name).stdout.strip() == GREETING


def test_engines_here_get_it_uncompressed(
    machine_nix: Nix, image: StoreImage, docker: engines.Docker
) -> None:
    """`nixoci load` gives every Docker the image, under the ID that all others know it by."""
    words = nixoci_command("load", "--log-requests", "--engine=docker", image.descriptor)
    environment = nixoci_environment(machine_nix, docker.environment())
    result = run(docker.command(*words), env=environment)
    assert result.stdout.strip() == image.document["configDigest"]
    # The blobs that it asked for are the tars.
    assert requested_layers(result.stderr, image) == []
    assert docker.run_image("acme/api:latest").stdout.strip() == GREETING
    again = run(docker.command(*words), env=environment)
    assert ("", result.stdout) == (again.stderr, again.stdout)
    docker.run("rmi", "--force", image.document["configDigest"])


def test_archives(
    machine_nix: Nix, image: StoreImage, docker: engines.Docker, tmp_path: Path
) -> None:
    """An OCI layout has the blobs of the registry, an archive for `docker load` the tars."""
    layout, archive = tmp_path / "layout", tmp_path / "docker.tar"
    nixoci(machine_nix, "write", image.descriptor, "--format=oci-layout", f"--output={layout}")
    for layer in image.document["layers"]:
        blob = layout / "blobs" / layer["digest"].replace(":", "/")
        assert blob.stat().st_size == layer["size"]
    assert engines.podman_run(f"oci:{layout}:1.0").stdout.strip() == GREETING
    nixoci(machine_nix, "write", image.descriptor, "--format=docker-archive", f"--output={archive}")
    assert archive.stat().st_size > _sizes(image)["tars"]
    docker.load(archive)
    assert docker.run_image(image.document["configDigest"]).stdout.strip() == GREETING
    docker.run("rmi", "--force", image.document["configDigest"])


_DIGEST = """
import sys
sys.path.insert(0, sys.argv[1])
from nixoci.compression import stream as compressed_stream
from nixoci.compression.formats import Compression
from nixoci.layer.digest import digest_layer
from nixoci.recipe.recipe import parse_recipe
compressed_stream.default_threads = lambda: int(sys.argv[5])
with open(sys.argv[2], "rb") as file:
    recipe = parse_recipe(file.read())
compression = Compression.create(sys.argv[3], int(sys.argv[4]))
print(digest_layer(recipe, compression=compression).to_json().decode())
"""


@pytest.mark.parametrize("level", [1, 6, 9])
def test_the_same_bytes_of_every_python(image: StoreImage, level: int, tmp_path: Path) -> None:
    """Python 3.9 and 3.13, with one thread, two and five: one digest for each layer."""
    for number, layer in enumerate(image.document["layers"]):
        recipe = tmp_path / f"{number}.json"
        recipe.write_text(json.dumps(layer["recipe"]))
        words = (_SOURCES, recipe, _format(image), level)
        found = {
            run([python_with_compressors(version), "-I", "-c", _DIGEST, *map(str, words), threads]).stdout
            for version in ("3.9", "3.13")
            for threads in ("1", "2", "5")
        }
        assert len(found) == 1
