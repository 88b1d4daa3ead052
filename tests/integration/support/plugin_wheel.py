"""The wheel of the plugin, built from the sources that run here, and what it requires."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

import nixoci

from tests.integration.support.cache import cached_directory
from tests.integration.support.interpreters import interpreter, python_with
from tests.integration.support.process import run

#: All of it is in a Pants sandbox too, since a BUILD file says that this module depends on it.
SOURCES = Path(nixoci.__file__).parents[1]
_LOCKS = Path(__file__).parents[3] / "3rdparty" / "python"


def copy_plugin_sources(directory: Path) -> None:
    """Copies all that the wheel is built from to a directory that does not exist yet."""
    directory.mkdir(parents=True)
    for name in ("nixoci", "pants_backend_nix"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCES / name, directory / name, ignore=ignored)
    for name in ("setup.py", "VERSION"):
        shutil.copy(SOURCES / name, directory / name)


def build_plugin_wheel(sources: Path, destination: Path, version: str, umask: str = "022") -> Path:
    """Builds a wheel as any build front end does: with pip, and no Pants.

    :param sources: what `copy_plugin_sources` made; the build writes into it.
    :param destination: the directory for the wheel.
    :raises ToolMissingError: there is no Python 3.11.
    :raises CommandFailedError: a step failed.
    """
    lock = (_LOCKS / "wheel-builder.lock").read_text()
    python = python_with("3.11", lock, "test-wheel-builder")
    build = (python, "-I", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--use-pep517")
    run(
        [
            *("/bin/sh", "-c", 'umask "$1" && shift && exec "$@"', "sh", umask),
            *(*build, "--no-build-isolation", "--wheel-dir", destination, sources),
        ],
        env={**os.environ, "PLUGIN_VERSION": version, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        timeout=300,
    )
    (wheel,) = destination.glob(f"pants_backend_nix-{version}-py3-none-any.whl")
    return wheel


def builder_wheels() -> Path:
    """Returns a directory with what Pants builds the plugin's wheel with, as this repository locks it.

    :raises CommandFailedError: pip could not fetch it, at the first call on a machine.
    """
    return _locked_wheels((_LOCKS / "wheel-builder.lock").read_text(), "3.11")


def required_wheels() -> Path:
    """Returns a directory with all that the wheel requires, the compressors too, for the Python that runs.

    :raises CommandFailedError: as `builder_wheels`.
    """
    text = (_LOCKS / "pants.lock").read_text()
    projects = "zstandard|deflate|pyelftools"
    if sys.version_info < (3, 10):
        projects += "|tree-sitter.*"
    lock = "".join(re.findall(rf"^(?:{projects})==.*\n(?:    --hash=.*\n)+", text, re.MULTILINE))
    if sys.version_info >= (3, 10):
        lock += (_LOCKS / "nix-parser.lock").read_text()
    return _locked_wheels(lock, "{}.{}".format(*sys.version_info))


def _locked_wheels(lock: str, version: str) -> Path:
    """Returns a directory with the wheels of a lockfile, for a version of Python."""

    def make(directory: Path, _final: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PEX_", "PYTHON"))}
        (directory / "lock.txt").write_text(lock)
        run(
            [
                *(interpreter(version), "-I", "-m", "pip", "download", "--quiet"),
                *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
                *("--requirement", directory / "lock.txt", "--dest", directory),
            ],
            env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"},
            timeout=300,
        )

    tag = hashlib.sha256(f"{version} {lock}".encode()).hexdigest()[:16]
    return cached_directory("test-plugin-wheels", tag, make)
