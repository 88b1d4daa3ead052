"""The Pythons of this machine, by version."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.integration.support.cache import cached_directory
from tests.integration.support.process import run
from tests.integration.support.tools import ToolMissingError


def interpreter(version: str) -> str:
    """Returns the path of a Python, from PATH or pyenv.

    :param version: such as `3.11`.
    :raises ToolMissingError: there is none.
    """
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = (
        shutil.which(f"python{version}"),
        *sorted(glob.glob(f"{root}/versions/{version}.*/bin/python{version}")),
    )
    for candidate in candidates:
        # A shim of pyenv may stand for a version that is not there.
        if candidate and not subprocess.run([candidate, "-c", ""], stderr=subprocess.PIPE).returncode:
            return candidate
    raise ToolMissingError(f"python{version}", "pyenv does not have it either")


def interpreter_itself(version: str) -> Path:
    """Returns the file of a Python, and not what pyenv has in PATH for it.

    :raises ToolMissingError: as `interpreter`.
    """
    say = "import os, sys; print(os.path.realpath(sys.executable))"
    return Path(run([interpreter(version), "-I", "-c", say]).stdout.strip())


def python_with(version: str, requirements: str, kept_as: str) -> Path:
    """Returns the Python of a virtualenv with some packages; made on first use and kept.

    :param version: such as `3.13`.
    :param requirements: lines of a lockfile, with hashes.
    :param kept_as: name of a directory of the tests' cache.
    :raises ToolMissingError: there is no such Python.
    :raises CommandFailedError: pip failed.
    """

    def make(directory: Path, _final: Path) -> None:
        run([interpreter(version), "-I", "-m", "venv", directory])
        lock = directory / "requirements.txt"
        lock.write_text(requirements)
        python = directory / "bin" / "python"
        strict = ("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:")
        command = [python, "-I", "-m", "pip", "install", *strict, "--requirement", lock]
        run(command, timeout=300)

    tag = hashlib.sha256(f"{version} {requirements}".encode()).hexdigest()[:16]
    return cached_directory(kept_as, tag, make) / "bin" / "python"
