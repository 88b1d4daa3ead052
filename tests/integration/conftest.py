"""Fixtures of the integration tests; what they are made of is in `support/`."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Mapping

import pytest

from tests.integration.support import closures, engines, images, nix, registry


@pytest.fixture(scope="session")
def machine_nix() -> nix.Nix:
    """The Nix of this machine (2.8 on Debian 12), configured for tests."""
    return nix.machine_nix()


@pytest.fixture(scope="session", params=["trixie", "sid"])
def newer_nix(request: pytest.FixtureRequest) -> nix.Nix:
    """A newer Nix that works on this machine's store; the test runs once with each."""
    return nix.newer_nix(request.param)


@pytest.fixture(scope="session")
def debian_closure(
    machine_nix: nix.Nix, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """Store path by attribute (`closures.DEBIAN_ATTRIBUTES`) of the closure of Debian packages."""
    return closures.build_debian_closure(machine_nix, tmp_path_factory.mktemp("debian-closure"))


@pytest.fixture(scope="session")
def hello_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with a tiny image, tag `latest`, that prints `images.HELLO`."""
    return images.write_hello_layout(tmp_path_factory.mktemp("hello-layout"))


@pytest.fixture(scope="module")
def docker() -> Iterator[engines.Docker]:
    """A dockerd with empty storage that ends with the tests of this file."""
    with engines.dockerd() as running:
        yield running


@pytest.fixture()
def plain_registry(tmp_path: Path) -> Iterator[registry.Registry]:
    """An empty registry that speaks HTTP and lets everybody in."""
    with registry.registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture()
def secure_registry(tmp_path: Path) -> Iterator[registry.Registry]:
    """An empty registry that speaks HTTPS and asks for `registry.USER` and its password."""
    with registry.registry(tmp_path / "registry", tls_and_auth=True) as running:
        yield running
