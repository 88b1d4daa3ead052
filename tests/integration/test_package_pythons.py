"""Same input, same bytes: with every Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.support.debian_monorepo import package_in_new_clone
from tests.integration.support.interpreters import interpreter
from tests.integration.support.nix import Nix


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> bytes:
    return package_in_new_clone(tmp_path_factory.mktemp("first"), machine_nix, "first")


@pytest.mark.parametrize("version", ("3.9", "3.11", "3.13"))
def test_another_python(
    expected: bytes, tmp_path: Path, machine_nix: Nix, version: str
) -> None:
    """The steps run with the first Python of the search path, whatever its version."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(interpreter(version))
    option = f"--nix-search-path=['{programs}', '<PATH>']"
    assert package_in_new_clone(tmp_path, machine_nix, "python", option) == expected
    (link,) = tmp_path.glob("python-cache/named/nixoci_*/python3")
    assert link.resolve().name == f"python{version}"
