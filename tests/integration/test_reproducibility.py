"""Builds that are not reproducible: found, said, and never shipped under another's digest."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.clock_machines import (
    CACHES,
    Machines,
    clock_machines,
    hash_of_clock,
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
