"""Pythons with the parser of Nix files that the lockfile pins for them."""

from __future__ import annotations

from pathlib import Path

from tests.integration.support.interpreters import python_with

#: In a Pants sandbox too, since a BUILD file says that this module depends on it.
_LOCK = Path(__file__).parents[3] / "3rdparty" / "python" / "nix-parser.lock"


def python_with_nix_parser(version: str) -> Path:
    """Returns the Python of a virtualenv with the locked parser; made on first use and kept.

    :param version: `3.10` or later.
    :raises ToolMissingError: there is no such Python.
    :raises CommandFailedError: pip failed.
    """
    return python_with(version, _LOCK.read_text(), "test-nix-parsers")
