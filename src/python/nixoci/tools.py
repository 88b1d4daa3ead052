"""What a sandboxed step needs of its machine: where Python and Nix are, and Nix's environment.

Pants' sandboxes are the same on every machine, so that results can be shared. What differs between
machines is written, once for each machine, to a directory that is in no cache key:

    DIRECTORY/python3       symbolic link to an interpreter
    DIRECTORY/tools.json    {"nix": directory of the programs, "environment": {…}, "settings": {…}}
"""

from __future__ import annotations

import json
import os
import sys
from typing import Mapping, Sequence

from nixoci.json_input import get_field, parse_object
from nixoci.nix import ENVIRONMENT_NAMES, Nix, NixNotFoundError

TOOLS_FILE = "tools.json"
PYTHON_LINK = "python3"


def write_tools(
    directory: str,
    environ: Mapping[str, str],
    extra_names: Sequence[str] = (),
    settings: Sequence[tuple[str, str]] = (),
) -> Nix:
    """Finds Nix in `environ`, checks its version and describes both in `directory`.

    The interpreter that runs this is the one that steps will use. The file can be read by its owner
    only, as the user may have named variables in `extra_names` that are nobody else's business.

    :param settings: of `nix.conf`, for every command of Nix.
    :raises NixNotFoundError: no Nix in `PATH`.
    :raises NixTooOldError: it is too old.
    """
    import tempfile

    nix = Nix.find(environ)
    nix.version()
    names = {*ENVIRONMENT_NAMES, *extra_names, "PATH"}
    document = {
        "nix": nix.directory,
        "settings": dict(settings),
        "environment": {name: environ[name] for name in sorted(names) if name in environ},
    }
    os.makedirs(directory, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=directory)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, sort_keys=True)
    os.replace(temporary, os.path.join(directory, TOOLS_FILE))
    os.symlink(os.path.realpath(sys.executable), f"{temporary}.link")
    os.replace(f"{temporary}.link", os.path.join(directory, PYTHON_LINK))
    return nix


def read_tools(path: str) -> Nix:
    """Reads what `write_tools` wrote.

    :param path: the file `tools.json`.
    :raises NixNotFoundError: no such file, or Nix is no longer where it says.
    :raises InvalidInputError: not such a file.
    """
    try:
        with open(path, "rb") as file:
            document = parse_object("tools file", file.read())
    except FileNotFoundError:
        raise NixNotFoundError(os.path.dirname(path)) from None
    directory = get_field(document, "nix", str)
    if not os.path.exists(os.path.join(directory, "nix")):
        raise NixNotFoundError(directory)
    settings = get_field(document, "settings", dict)
    return Nix(
        directory, get_field(document, "environment", dict), tuple(sorted(settings.items()))
    )
