"""Images on top of others: of a registry, which is asked for two documents, and of this repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.integration.support import engines
from tests.integration.support.engines import skopeo
from tests.integration.support.images import HELLO, write_hello_layout
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry, registry

_NIX = """\
{ system }:
let
  make = name: text: derivation {
    inherit name system text;
    builder = "/bin/sh";
    args = [ "-c" "echo \\"$text\\" > $out" ];
    allowSubstitutes = false;
  };
in
rec { one = make "one" "the first"; two = make "two" "on top of ${one}"; }
"""

_BUILD = """\
nix_sources(name="nix", sources=["*.nix"])
nix_package(name="one", source="default.nix", attr="one", dependencies=[":nix"])
nix_package(name="two", source="default.nix", attr="two", dependencies=[":nix"])
"""


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    made = Monorepo.create(tmp_path_factory.mktemp("base"), machine_nix)
    with made.with_daemon() as running:
        yield running


@pytest.fixture()
def repository(monorepo: Monorepo) -> Monorepo:
    monorepo.clear()
    monorepo.write("app/default.nix", _NIX)
    return monorepo


class Base:
    """A registry with an image of two layers, compressed with gzip, and with zstd."""

    def __init__(self, running: Registry, directory: Path) -> None:
        self.registry = running
        self.host = running.host
        layout = write_hello_layout(directory / "layout", layers=2)
        self.name = f"{running.host}/acme/hello"
        # Only what is not compressed is compressed in another way.
        plain = directory / "plain"
        skopeo("copy", "--dest-decompress", f"oci:{layout}", f"dir:{plain}")
        for tag in ("gzip", "zstd"):
            skopeo(
                *("copy", "--dest-tls-verify=false", "--format=oci", f"--dest-compress-format={tag}"),
                *(f"dir:{plain}", f"docker://{self.name}:{tag}"),
            )

    def digest(self, tag: str) -> str:
        text = skopeo("inspect", "--tls-verify=false", f"docker://{self.name}:{tag}").stdout
        digest: str = json.loads(text)["Digest"]
        return digest


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    directory = tmp_path_factory.mktemp("base-registry")
    with registry(directory / "registry") as running:
        yield Base(running, directory)


def publish(repository: Monorepo, host: str, *words: str, check: bool = True) -> PantsRun:
    registries = {"test": {"address": host, "default": True}}
    return repository.pants(
        f"--nix-images-registries={registries}", *words, check=check
    )


def _blobs(running: Registry, method: str, since: int = 0) -> list[str]:
    return [r.path for r in running.requests()[since:] if r.method == method and "/blobs/" in r.path]


@pytest.mark.parametrize("kind", ("gzip", "zstd"))
def test_a_base_in_a_registry(
    repository: Monorepo, base: Base, plain_registry: Registry, kind: str
) -> None:
    """`package` asks for a manifest and a config; to the same registry our layer is uploaded, to another one all are;
    engines find the files of the base and ours."""
    digest = base.digest(kind)
    repository.write(
        "app/BUILD",
        _BUILD
        + f'oci_base_image(name="hello", image="{base.name}:{kind}", digest="{digest}")\n'
        + f'nix_image(name="image", base=":hello", packages=[":one"], cmd=["cat {{one}} /layers/1"], '
        f'env={{"KIND": "{kind}"}}, repository="acme/{kind}")\n',
    )
    before = len(base.registry.requests())
    repository.pants("package", "app:image")
    asked = [(r.method, r.path.split("/")[4], r.status) for r in base.registry.requests()[before:]]
    asked = [one for one in asked if one[0] != "HEAD" or one[1]]
    assert asked == [("GET", "manifests", 200), ("GET", "blobs", 200)]
    descriptor = repository.descriptor("app/image.image.json")
    assert [bool(layer["recipe"].get("blob")) for layer in descriptor["layers"]] == [True, True, False]
    repository.pants("package", "app:image")
    assert len(base.registry.requests()) == before + 2, "the second time nobody is asked"

    before = len(base.registry.requests())
    publish(repository, base.host, "publish", "app:image")
    requests = base.registry.requests()[before:]
    uploads = [r for r in requests if r.method == "PUT" and "/blobs/uploads/" in r.path]
    mounts = [r for r in requests if "mount=" in r.path and r.status == 201]
    assert (len(uploads), len(mounts)) == (2, 2), "our layer and the config"

    publish(repository, plain_registry.host, "publish", "app:image")
    assert len([r for r in plain_registry.requests("PUT", "/blobs/") if r.status == 201]) == 4
    reference = f"{plain_registry.host}/acme/{kind}:latest"
    assert engines.podman_run(
        f"docker://{reference}", options=["--tls-verify=false"]
    ).stdout == "the first\n1\n"
    repository.pants("nix-layers", "app:image")
    assert "copied, a layer of" in repository.pants("nix-layers", "app:image").stdout
