"""Directories that are expensive to make, kept between runs in the user's cache directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterator


def cache_root() -> Path:
    """The directory that holds everything that tests keep between runs.

    It is `pants-backend-nix` in `$XDG_CACHE_HOME`, or in `~/.cache` when that is not set.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "pants-backend-nix")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file `path` (made when missing), across processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def cached_directory(kind: str, name: str, make: Callable[[Path, Path], None]) -> Path:
    """Returns the directory `<cache>/<kind>/<name>`, made on first use.

    It appears whole or not at all: `make` fills a temporary directory that is then renamed. Of
    several processes that want it at once, one makes it and the others wait.

    :param name: must change with everything that decides on the content.
    :param make: called as `make(directory to fill, path that it will have)`.
    """
    final = cache_root() / kind / name
    if final.is_dir():
        return final
    with locked(final.with_name(f"{name}.lock")):
        if not final.is_dir():
            temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=final.parent))
            try:
                make(temporary, final)
                temporary.chmod(0o755)
                temporary.rename(final)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return final
