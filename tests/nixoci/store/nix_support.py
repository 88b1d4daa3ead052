"""The machine's own Nix for tests of the core: works offline, and as root without build users."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Callable, Mapping, TypeVar

from nixoci.store.nix import Nix

SYSTEM = "x86_64-linux"

CONFIGURATION = """\
build-users-group =
substituters =
sandbox = false
flake-registry =
experimental-features = nix-command flakes
"""


_Result = TypeVar("_Result")


def environment(home: Path) -> dict[str, str]:
    """Returns an environment in which Nix keeps what it keeps for a user in `home`."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "NIX_CONFIG": CONFIGURATION}


def nix(home: Path) -> Nix:
    """Returns the Nix on PATH.

    :raises NixNotFoundError: there is none.
    """
    return Nix.find(environment(home))


def delete(nix: Nix, *paths: str) -> None:
    """Deletes store paths."""
    patiently(lambda: nix.run(("nix-store", "--delete", *paths)))


def patiently(run: Callable[[], _Result]) -> _Result:
    """Calls what runs Nix, again while that could not delete anything.

    Nix looks first at what all processes of the machine have open, and gives up where a name is too long for it, as in
    tests of deep trees that run at the same time.
    """
    for _ in range(100):
        try:
            return run()
        except Exception as error:
            if "symlink: File name too long" not in str(error):
                raise
            time.sleep(0.3)
    return run()


def write_tree(root: Path, files: Mapping[str, str]) -> Path:
    """Writes `files` (text by relative path) below `root` and returns it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def shell_derivation(name: str, script: str, more: str = "") -> str:
    """Returns a Nix expression of a derivation that runs `script`; needs `system` in scope."""
    return (
        f'(derivation {{ name = "{name}"; inherit system; builder = "/bin/sh"; '
        f"args = [ \"-c\" ''{script}'' ]; allowSubstitutes = false; {more} }})"
    )


def unique_word() -> str:
    """Returns a word that makes a derivation one that no store has built yet."""
    return uuid.uuid4().hex


def program(directory: Path, name: str, script: str) -> Path:
    """Writes an executable shell script and returns the directory that it is in."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return directory
