"""Pythons with the compressors that the lockfile pins, as the plugin's users have them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tests.integration.support.cache import cached_directory
from tests.integration.support.interpreters import interpreter
from tests.integration.support.process import run

#: In a Pants sandbox too, since a BUILD file says that this module depends on it.
_LOCK = Path(__file__).parents[3] / "3rdparty" / "python" / "pants.lock"


def python_with_compressors(version: str) -> Path:
    """Returns the Python of a virtualenv with the locked compressors; made on first use and kept.

    :param version: such as `3.13`.
    :raises ToolMissingError: there is no such Python.
    :raises CommandFailedError: pip failed.
    """
    pattern = r"^(?:zstandard|deflate)==.*\n(?:    --hash=.*\n)+"
    requirements = "".join(re.findall(pattern, _LOCK.read_text(), re.MULTILINE))

    def make(directory: Path, _final: Path) -> None:
        run([interpreter(version), "-I", "-m", "venv", directory])
        lock = directory / "requirements.txt"
        lock.write_text(requirements)
        python = directory / "bin" / "python"
        strict = ("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:")
        command = [python, "-I", "-m", "pip", "install", *strict, "--requirement", lock]
        run(command, timeout=300)

    tag = hashlib.sha256(f"{version} {requirements}".encode()).hexdigest()[:16]
    return cached_directory("test-compressors", tag, make) / "bin" / "python"
