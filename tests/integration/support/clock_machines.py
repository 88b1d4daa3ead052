"""Two machines that share Pants' cache, and an image with a build that differs each time.

The machines share the cache's directory, as two stores of one machine would, or a BuildGrid between two
clones that have nothing else in common.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any, Iterator

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


#: What the machines can share.
CACHES = ("a local cache", "a remote cache")


@contextlib.contextmanager
def clock_machines(kind: str, directory: Path, machine_nix: Nix) -> Iterator[Machines]:
    """Yields two machines with the image.

    :param kind: of `CACHES`.
    """
    with contextlib.ExitStack() as running:
        to = running.enter_context(registry(directory / "registry"))
        nix_a = machine_nix.with_fresh_root(directory / "a")
        nix_b = machine_nix.with_fresh_root(directory / "b")
        if kind == "a remote cache":
            cache = running.enter_context(remote_cache(directory / "remote-cache"))
            a = Machine.create(directory, nix_a, "one", *cache.options)
            b = Machine.create(directory / "elsewhere", nix_b, "two", *cache.options)
        else:
            a = Machine.create(directory, nix_a, "one")
            monorepo = dataclasses.replace(a.monorepo, nix=nix_b)
            b = dataclasses.replace(a, monorepo=monorepo)
        made = Machines(a, b, directory / "b" / "store", to)
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
