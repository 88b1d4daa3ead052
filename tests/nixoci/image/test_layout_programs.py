"""Tests of the writers with real layers and the programs that read images."""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, Iterator

import pytest
from nixoci.image.archive import write_docker_archive, write_oci_archive
from nixoci.image.config import ImageConfig
from nixoci.image.image import History, Image, LayerInImage, assemble
from nixoci.image.layout import write_oci_layout
from nixoci.image.reference import Reference
from nixoci.layer.digest import digest_layer
from nixoci.layer.write import write_layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.path import StorePath

from tests.integration.support import engines
from tests.integration.support.tools import tool

REFERENCES = (Reference("acme/api", "1.0"), Reference("localhost:5000/acme/api", "latest"))
HELLO = StorePath.parse(f"/nix/store/{'1' * 32}-hello")
DATA = StorePath.parse(f"/nix/store/{'2' * 32}-data")


class RealImage:
    """An image of two store paths in a store below `root`, and where it was written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        store_root = str(root / "store-root")
        (root / f"store-root{HELLO}" / "bin").mkdir(parents=True)
        program = root / f"store-root{HELLO}" / "bin" / "hello"
        program.write_text("#!/bin/sh\necho hello\n")
        program.chmod(0o555)
        (root / f"store-root{HELLO}" / "link").symlink_to(DATA)
        (root / f"store-root{DATA}").write_bytes(b"data" * 300_000)
        self.recipes = tuple(
            LayerRecipe((RecipeEntry(path, "sha256-unknown", path),)) for path in (DATA, HELLO)
        )
        config = ImageConfig(
            entrypoint=(f"{HELLO}/bin/hello",),
            env=("GREETING=höllo",),
            exposed_ports=("80",),
            labels=(("a", "b"),),
            working_dir="/nix",
            architecture="amd64",
        )
        layers = [
            LayerInImage(
                digest_layer(recipe, store_root=store_root), History(created_by=recipe.paths[0])
            )
            for recipe in self.recipes
        ]
        self.image: Image = assemble(config, layers)
        self.diff_ids = [item.layer.diff_id for item in layers]
        write = partial(write_layer, store_root=store_root)
        for name, writer in (
            ("layout", write_oci_layout),
            ("oci.tar", write_oci_archive),
            ("docker.tar", write_docker_archive),
        ):
            writer(str(root / name), self.image, self.recipes, write, REFERENCES)


@pytest.fixture(scope="module")
def real(tmp_path_factory: Any) -> RealImage:
    return RealImage(tmp_path_factory.mktemp("real"))


def run(program: str, *arguments: object) -> bytes:
    return subprocess.run(
        [tool(program), *(str(argument) for argument in arguments)], check=True, stdout=subprocess.PIPE
    ).stdout


@pytest.mark.parametrize(
    "source",
    [
        "oci:{root}/layout:1.0",
        "oci:{root}/layout:latest",
        "oci-archive:{root}/oci.tar:1.0",
        "docker-archive:{root}/docker.tar:acme/api:1.0",
        "docker-archive:{root}/docker.tar:localhost:5000/acme/api:latest",
    ],
)
def test_skopeo_sees_the_image(real: RealImage, source: str) -> None:
    """Digest, layers and config, by each of the names, in each of the formats."""
    source = source.format(root=real.root)
    seen = json.loads(run("skopeo", "inspect", source))
    assert seen["Layers"] == real.diff_ids
    assert (seen["Architecture"], seen["Os"]) == ("amd64", "linux")
    assert seen["Labels"] == {"a": "b"}
    if not source.startswith("docker-archive"):
        # A Docker archive has no manifest, so skopeo makes one of its own for it.
        assert seen["Digest"] == real.image.digest
    config = run("skopeo", "inspect", "--raw", "--config", source)
    assert config == real.image.config
    assert json.loads(config)["config"]["Entrypoint"] == [f"{HELLO}/bin/hello"]


def test_skopeo_copies_every_byte(real: RealImage, tmp_path: Path) -> None:
    """skopeo verifies what it copies, and the image keeps its digest."""
    copy = ("skopeo", "copy", "--quiet", "--preserve-digests")
    for source in ("oci:{}/layout:1.0", "oci-archive:{}/oci.tar:1.0"):
        run(*copy, source.format(real.root), f"dir:{tmp_path}")
        assert (tmp_path / "manifest.json").read_bytes() == real.image.manifest
    source = f"docker-archive:{real.root}/docker.tar:acme/api:1.0"
    run("skopeo", "copy", "--quiet", source, f"dir:{tmp_path}/docker")
    config = json.loads((tmp_path / "docker" / "manifest.json").read_bytes())["config"]
    assert config["digest"] == real.image.config_digest


def test_umoci_unpacks_the_image(real: RealImage, tmp_path: Path) -> None:
    """The root file system is the store paths, and the process is what the config says."""
    run("umoci", "unpack", "--image", f"{real.root}/layout:1.0", tmp_path / "bundle")
    root = tmp_path / "bundle" / "rootfs"
    assert (root / HELLO[1:] / "bin" / "hello").stat().st_mode & 0o7777 == 0o555
    assert os.readlink(root / HELLO[1:] / "link") == DATA
    assert (root / DATA[1:]).read_bytes() == b"data" * 300_000
    process = json.loads((tmp_path / "bundle" / "config.json").read_bytes())["process"]
    assert process["args"] == [f"{HELLO}/bin/hello"]
    assert "GREETING=höllo" in process["env"]
    assert process["cwd"] == "/nix"


@pytest.fixture(scope="module")
def docker() -> Iterator[engines.Docker]:
    with engines.dockerd() as running:
        yield running


def test_docker_loads_the_docker_archive(real: RealImage, docker: engines.Docker) -> None:
    """`docker load` takes it under both names, and its image ID is the digest of the config."""
    docker.load(real.root / "docker.tar")
    for reference in REFERENCES:
        (seen,) = json.loads(docker.run("image", "inspect", str(reference)).stdout)
        assert seen["Id"] == real.image.config_digest
        assert seen["RootFS"]["Layers"] == real.diff_ids
        assert seen["Config"]["Entrypoint"] == [f"{HELLO}/bin/hello"]
    columns = ("--no-trunc", "--format", "{{.CreatedBy}}")
    history = docker.run("history", *columns, str(REFERENCES[0])).stdout
    assert history.split() == [HELLO, DATA]
