"""Pythons with the compressors that the lockfile pins, as the plugin's users have them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.support.interpreters import python_with

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

    return python_with(version, requirements, "test-compressors")
