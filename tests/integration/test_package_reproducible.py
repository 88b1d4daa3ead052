"""Same input, same bytes: on every machine, with every Nix and every Python."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.integration.support.debian_monorepo import write_debian_images
from tests.integration.support.interpreters import interpreter
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix


def _package(directory: Path, nix: Nix, name: str, *options: str) -> bytes:
    """Packages in a new clone with empty caches and an own home; returns the descriptor."""
    repository = Monorepo.create(directory, nix, name=name)
    write_debian_images(repository)
    run = repository.pants(*options, "package", "app:descriptor")
    # Nothing came from somebody else's cache, so the bytes were really made.
    assert len(run.processes("Digest")) > 5
    assert "local_cache_requests_cached" not in run.counters
    return (repository.root / "dist/app/descriptor.image.json").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> bytes:
    return _package(tmp_path_factory.mktemp("first"), machine_nix, "first")


def test_another_clone_and_home(expected: bytes, tmp_path: Path, machine_nix: Nix) -> None:
    """The place of the repository and the home directory do not matter."""
    assert _package(tmp_path / "a b" / "ü", machine_nix, "other clone") == expected


def test_a_newer_nix(expected: bytes, tmp_path: Path, newer_nix: Nix) -> None:
    """Nix 2.26 and 2.34 make the image that 2.8 makes."""
    assert newer_nix.version() >= (2, 26)
    assert _package(tmp_path, newer_nix, "newer") == expected


@pytest.mark.parametrize("version", ("3.9", "3.11", "3.13"))
def test_another_python(
    expected: bytes, tmp_path: Path, machine_nix: Nix, version: str
) -> None:
    """The steps run with the first Python of the search path, whatever its version."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(interpreter(version))
    option = f"--nix-search-path=['{programs}', '<PATH>']"
    assert _package(tmp_path, machine_nix, "python", option) == expected
    (link,) = tmp_path.glob("python-cache/named/nixoci_*/python3")
    assert link.resolve().name == f"python{version}"


def test_a_fresh_store_and_an_optimised_one(
    expected: bytes, tmp_path: Path, machine_nix: Nix
) -> None:
    """All is built anew in an empty store; then files with equal contents become hard links."""
    nix = machine_nix.with_fresh_root(tmp_path / "nix")
    assert _package(tmp_path, nix, "fresh") == expected
    links = tmp_path / "nix/store/.links"
    assert not links.exists() or not any(links.iterdir())
    nix.run("nix-store", "--optimise")
    assert any(path.lstat().st_nlink > 2 for path in links.iterdir())
    assert _package(tmp_path, nix, "optimised") == expected


def test_the_digests_are_those_of_the_bytes(
    expected: bytes, tmp_path: Path, machine_nix: Nix
) -> None:
    """Each blob of a layout that was written has the digest in its name."""
    repository = Monorepo.create(tmp_path, machine_nix)
    write_debian_images(repository)
    repository.pants("package", "app:oci-layout")
    blobs = list((repository.root / "dist/app/oci-layout/blobs/sha256").iterdir())
    assert len(blobs) > 5
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
