"""Builds that are not reproducible: found, said, and never shipped under another's digest.

The two machines share Pants' cache: once its directory, as two stores of one machine would, and once
a BuildGrid between two clones that have nothing else in common.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.integration.support.engines import skopeo
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry, registry
from tests.integration.support.remote_cache import remote_cache

_NIX = """\
{ system }:
let
  make = name: attributes: script: derivation (attributes // {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-c" "${script}; exit" ];
  });
in
rec {
  good = make "good" { } "echo good > $out";
  clock = make "clock" { inherit good; } "echo $good > $out; /bin/date +%s.%N >> $out";
}
"""

_BUILD = """\
nix_package(name="good", source="default.nix", attr="good")
nix_package(name="clock", source="default.nix", attr="clock", {package})
nix_layer(
    name="layer",
    packages=[":good", ":clock"],
    max_layers={max_layers},
    layering="popularity",
    {layer}
)
nix_image(
    name="image", layers=[":layer"], nix_database=True, repository="acme/clock", {image}
)
"""


@dataclasses.dataclass(frozen=True)
class Machines:
    """Two machines with stores of their own, and a cache of Pants that they share.

    :param store: where the store of `b` is, outside of its namespace.
    """

    a: Machine
    b: Machine
    store: Path
    registry: Registry

    def write(
        self, *, package: str = "", layer: str = "", image: str = "", max_layers: int = 3
    ) -> None:
        fields = {"package": package, "layer": layer, "image": image, "max_layers": max_layers}
        for machine in (self.a, self.b):
            machine.monorepo.write("app/default.nix", _NIX)
            machine.monorepo.write("app/BUILD", _BUILD.format(**fields))

    def store_of_b(self) -> set[str]:
        return {path.name[33:] for path in self.store.glob("*-*")}


@pytest.fixture(params=["a local cache", "a remote cache"])
def machines(
    request: pytest.FixtureRequest, tmp_path: Path, machine_nix: Nix
) -> Iterator[Machines]:
    with contextlib.ExitStack() as running:
        to = running.enter_context(registry(tmp_path / "registry"))
        nix_a = machine_nix.with_fresh_root(tmp_path / "a")
        nix_b = machine_nix.with_fresh_root(tmp_path / "b")
        if request.param == "a remote cache":
            cache = running.enter_context(remote_cache(tmp_path / "remote-cache"))
            a = Machine.create(tmp_path, nix_a, "one", *cache.options)
            b = Machine.create(tmp_path / "elsewhere", nix_b, "two", *cache.options)
        else:
            a = Machine.create(tmp_path, nix_a, "one")
            monorepo = dataclasses.replace(a.monorepo, nix=nix_b)
            b = dataclasses.replace(a, monorepo=monorepo)
        made = Machines(a, b, tmp_path / "b" / "store", to)
        made.write()
        yield made


def package(machine: Machine) -> PantsRun:
    return machine.pants("package", "app:image")


def publish(machines: Machines, machine: Machine, *, check: bool = True) -> PantsRun:
    registries = {"test": {"address": machines.registry.host, "default": True}}
    option = f"--nix-images-registries={registries}"
    return machine.pants(option, "package", "publish", "app:image", check=check)


def pulled(machines: Machines, directory: Path) -> list[str]:
    """Pulls the image, which verifies all digests, and returns those of its layers."""
    name = f"{machines.registry.host}/acme/clock:latest"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{directory}")
    manifest = json.loads((directory / "manifest.json").read_text())
    return [layer["digest"] for layer in manifest["layers"]]


def descriptor(machine: Machine) -> dict[str, Any]:
    return machine.monorepo.descriptor("app/image.image.json")


def layers(machine: Machine) -> list[str]:
    return [layer["digest"] for layer in descriptor(machine)["layers"]]


def hash_of_clock(machine: Machine) -> str:
    for layer in descriptor(machine)["layers"]:
        for entry in layer["recipe"].get("entries", ()):
            if entry["path"].endswith("-clock"):
                return entry["narHash"]
    raise AssertionError


def test_a_different_build_is_said_and_digested_anew(machines: Machines, tmp_path: Path) -> None:
    """When a layer has to be digested on another machine, it is made of what that machine has."""
    package(machines.a)
    recorded = hash_of_clock(machines.a)
    machines.write(max_layers=1)
    run = package(machines.b)
    assert "[WARN] app:image: This machine built these store paths with other results" in run.stderr
    found = hash_of_clock(machines.b)
    assert f"-clock (recorded {recorded}, here {found})" in run.stderr
    assert "set `reproducible=False` on their `nix_package` targets" in run.stderr
    assert recorded != found
    publish(machines, machines.b)
    assert pulled(machines, tmp_path / "image") == layers(machines.b)


def test_nothing_is_pushed_under_the_digest_of_another_build(
    machines: Machines, tmp_path: Path
) -> None:
    """A push that finds the difference stops; the next one ships what this machine has."""
    package(machines.a)
    recorded = hash_of_clock(machines.a)
    first = publish(machines, machines.b, check=False)
    assert first.result.returncode != 0
    assert f"-clock (recorded {recorded}, here sha256-" in first.stderr
    assert machines.registry.requests("PUT", "/manifests/") == []
    second = publish(machines, machines.b)
    assert "Their builds are not reproducible" in second.stderr
    pushed = pulled(machines, tmp_path / "image")
    assert len(pushed) == 3
    # `good` is the same everywhere; the other two are the clock's and the database's.
    assert len(set(pushed) & set(layers(machines.a))) == 1


@pytest.mark.parametrize("where", ["package", "layer"])
def test_kept_layers_are_the_same_everywhere(
    machines: Machines, tmp_path: Path, where: str
) -> None:
    """With `reproducible=False` a machine that has built nothing ships the bytes of the first one."""
    machines.write(**{where: "reproducible=False"})
    package(machines.a)
    recorded = layers(machines.a)
    run = publish(machines, machines.b)
    assert pulled(machines, tmp_path / "image") == recorded == layers(machines.b)
    assert run.processes("Build", "Digest") == ()
    assert not machines.store_of_b() & {"clock", "clock.drv"}


def test_kept_layers_are_compressed_from_what_is_kept(machines: Machines, tmp_path: Path) -> None:
    """A machine that has built nothing compresses the bytes of the first one, and ships them."""
    machines.write(package="reproducible=False")
    package(machines.a)
    plain = set(layers(machines.a))
    machines.write(package="reproducible=False", image='compression="zstd"')
    run = publish(machines, machines.b)
    assert pulled(machines, tmp_path / "image") == layers(machines.b)
    assert len(run.processes("Compress layer of clock")) == 1
    assert not machines.store_of_b() & {"clock", "clock.drv"}
    compressed = descriptor(machines.b)["layers"]
    assert {layer["diffId"] for layer in compressed} == plain
    assert {layer["compression"]["format"] for layer in compressed} == {"zstd"}
