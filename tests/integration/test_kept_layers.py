"""Builds that are not reproducible, and whose layers are kept: the first build is shipped everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.clock_machines import (
    CACHES,
    Machines,
    clock_machines,
    descriptor,
    layers,
    package,
    publish,
    pulled,
)
from tests.integration.support.nix import Nix


@pytest.fixture(params=CACHES)
def machines(
    request: pytest.FixtureRequest, tmp_path: Path, machine_nix: Nix
) -> Iterator[Machines]:
    with clock_machines(request.param, tmp_path, machine_nix) as made:
        yield made


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
