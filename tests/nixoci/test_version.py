"""What `nixoci --version` says of an installation, of sources, and of the program of the steps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nixoci
import pytest

SOURCES = Path(nixoci.__file__).parents[1]


def _install(directory: Path, version: str) -> None:
    information = directory / f"pants_backend_nix-{version}.dist-info"
    information.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: pants-backend-nix\nVersion: {version}\n"
    (information / "METADATA").write_text(text)


@pytest.fixture()
def site(tmp_path: Path) -> Path:
    """A directory of modules with the core in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCES / "nixoci", tmp_path / "site" / "nixoci", ignore=ignored)
    return tmp_path / "site"


def _version(*places: Path) -> str:
    return subprocess.check_output(
        [sys.executable, "-m", "nixoci", "--version"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
        text=True,
    )


def test_sources_have_the_next_release() -> None:
    release = (SOURCES / "VERSION").read_text().strip()
    assert _version(SOURCES) == f"nixoci {release}.dev0+sources\n"


def test_an_installation_has_its_own(site: Path, tmp_path: Path) -> None:
    """Another one beside the modules, as where Pants loads sources and has the wheel too, says nothing of them."""
    _install(tmp_path / "elsewhere", "1.2.3")
    assert _version(site, tmp_path / "elsewhere") == "nixoci 0.dev0+sources\n"
    _install(site, "3.2.1")
    assert _version(site, tmp_path / "elsewhere") == "nixoci 3.2.1\n"


def test_the_program_of_the_steps_has_none(site: Path) -> None:
    (site / "nixoci" / "version.py").unlink()
    _install(site, "3.2.1")
    assert _version(site) == "nixoci (packed by the plugin, without a version)\n"
