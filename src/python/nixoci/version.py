"""The version of what runs. Nothing of it is in the program of the steps, whose bytes are in cache keys."""

from __future__ import annotations

import os

_DISTRIBUTION = "pants-backend-nix"
_SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def version() -> str:
    """Returns the version of the distribution that this module was installed with.

    For sources that were not installed it is that of the next release with `.dev0+sources`, also where another
    version is installed beside them.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(_DISTRIBUTION)
    except PackageNotFoundError:
        found = None
    if found is not None and os.path.realpath(str(found.locate_file(""))) == os.path.realpath(_SOURCES):
        return found.version
    try:
        with open(os.path.join(_SOURCES, "VERSION"), encoding="ascii") as file:
            return f"{file.read().strip()}.dev0+sources"
    except OSError:
        # Sources that were copied without that file.
        return "0.dev0+sources"
