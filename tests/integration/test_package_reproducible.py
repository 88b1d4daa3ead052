"""Same input, same bytes: on every machine, with every Nix."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.integration.support.debian_monorepo import package_in_new_clone, write_debian_images
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> bytes:
    return package_in_new_clone(tmp_path_factory.mktemp("first"), machine_nix, "first")


def test_another_clone_and_home(expected: bytes, tmp_path: Path, machine_nix: Nix) -> None:
    """The place of the repository and the home directory do not matter."""
    assert package_in_new_clone(tmp_path / "a b" / "ü", machine_nix, "other clone") == expected


def test_a_newer_nix(expected: bytes, tmp_path: Path, newer_nix: Nix) -> None:
    """Nix 2.26 and 2.34 make the image that 2.8 makes."""
    assert newer_nix.version() >= (2, 26)
    assert package_in_new_clone(tmp_path, newer_nix, "newer") == expected


def test_a_fresh_store_and_an_optimised_one(
    expected: bytes, tmp_path: Path, machine_nix: Nix
) -> None:
    """All is built anew in an empty store; then files with equal contents become hard links."""
    nix = machine_nix.with_fresh_root(tmp_path / "nix")
    assert package_in_new_clone(tmp_path, nix, "fresh") == expected
    links = tmp_path / "nix/store/.links"
    assert not links.exists() or not any(links.iterdir())
    nix.run("nix-store", "--optimise")
    assert any(path.lstat().st_nlink > 2 for path in links.iterdir())
    assert package_in_new_clone(tmp_path, nix, "optimised") == expected


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
