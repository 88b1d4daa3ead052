"""Stores as macOS has them, made by the Nix on PATH: the setting `use-case-hack` works on any system."""

from __future__ import annotations

import os
import subprocess
from typing import Callable

from hypothesis import strategies as st

from tests.integration.support.tools import tool
from tests.nixoci.tar.tar_support import File

HACKED = "use-case-hack = true\n"

#: Names of which many differ in case only.
NAMES = st.text("aAbB", min_size=1, max_size=2).map(str.encode)
TREES = st.recursive(
    st.builds(File, st.binary(max_size=3)),
    lambda children: st.dictionaries(NAMES, children, max_size=8),
    max_leaves=20,
).filter(lambda node: isinstance(node, dict))


def dump(path: str, configuration: str = "") -> bytes:
    """Returns the NAR of what is at `path`.

    :param configuration: lines of `nix.conf`.
    """
    return _run(("--dump", path), b"", configuration)


def restore(nar: bytes, path: str, configuration: str = HACKED) -> None:
    """Writes what a NAR holds to `path`, by default as it is written on macOS."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _run(("--restore", path), nar, configuration)


def has_case_hack() -> bool:
    """As `Nix.has_case_hack`, of a Nix with `HACKED`."""
    return True


def never_asked(what: str) -> Callable[[], bool]:
    """Returns a function that fails if it is asked."""

    def ask() -> bool:
        raise AssertionError(f"Nix was asked for {what}")

    return ask


def _run(arguments: tuple[str, ...], data: bytes, configuration: str) -> bytes:
    return subprocess.run(
        [tool("nix-store"), *arguments],
        input=data,
        env={**os.environ, "NIX_CONFIG": configuration},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
