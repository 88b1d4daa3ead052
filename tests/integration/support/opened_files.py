"""What Nix reads when it evaluates a file, and what is found to be read by looking at files alone."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Mapping, Sequence

from pants_backend_nix.rules.inference.paths import references_of
from pants_backend_nix.rules.inference.references import files_of

_OPENED = re.compile(r'^\d+ +openat\([^,]+, "((?:[^"\\]|\\.)*)", ([A-Z_|]+)[^=]*\) = \d+', re.MULTILINE)


def files_below(root: Path) -> tuple[str, ...]:
    """Returns all files below a directory, relative to it, sorted."""
    found = [path for path in root.rglob("*") if path.is_file()]
    return tuple(sorted(path.relative_to(root).as_posix() for path in found))


def inferred_files(root: Path, entry: str) -> frozenset[str]:
    """Returns `entry` and all that it is found to need, through files that it imports, as if targets owned all
    files below `root`."""
    files = files_below(root)
    found = {entry}
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if not path.endswith(".nix"):
            continue
        for reference in references_of((root / path).read_bytes(), path):
            more = set(files_of(reference, files)) - found
            found |= more
            waiting.extend(more)
    return frozenset(found)


def opened_files(
    root: Path, command: Sequence[str], environment: Mapping[str, str]
) -> frozenset[str]:
    """Returns the files below `root` that a command opens, relative to it.

    :raises subprocess.CalledProcessError: the command fails.
    """
    root = root.resolve()
    with tempfile.TemporaryDirectory() as directory:
        trace = os.path.join(directory, "trace")
        words = ["strace", "-f", "-e", "trace=openat", "-s", "4096", "-o", trace, *command]
        subprocess.run(words, env=dict(environment), stdout=subprocess.PIPE, check=True)
        text = Path(trace).read_text(errors="replace")
    paths = {
        Path(name)
        for name, flags in _OPENED.findall(text)
        if "O_DIRECTORY" not in flags and name.startswith(f"{root}/")
    }
    return frozenset(path.relative_to(root).as_posix() for path in paths if path.is_file())


def evaluation(root: Path, entry: str) -> tuple[str, ...]:
    """Returns the command that evaluates all of a file: of a flake the output `text`."""
    path = root.resolve() / entry
    if path.name == "flake.nix":
        return ("nix", "eval", "--impure", "--json", f"path:{path.parent}#text")
    return ("nix-instantiate", "--eval", "--strict", str(path))
