"""The Python of an image: running it, and what wheels it takes."""

from __future__ import annotations

import os
import subprocess

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.program.in_store import words_of
from nixoci.store.nix import Nix

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

#: What an interpreter says of itself; environment markers are those of PEP 508.
_DESCRIBE = """\
import json, os, platform, sys
sys.path.insert(0, sys.argv[1])
from packaging.tags import sys_tags
version = sys.implementation.version
stage = "" if version.releaselevel == "final" else version.releaselevel[0] + str(version.serial)
print(json.dumps({
    "compatible_tags": [str(tag) for tag in sys_tags()],
    "marker_environment": {
        "implementation_name": sys.implementation.name,
        "implementation_version": "%d.%d.%d" % version[:3] + stage,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_system": platform.system(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"""


class InterpreterFailedError(NixOciError):
    """An interpreter does not run on this machine, or failed.

    :param interpreter: its path in the image.
    """

    def __init__(self, interpreter: str, message: str) -> None:
        self.interpreter = interpreter
        first, _, rest = message.strip().partition("\n")
        super().__init__(f"{interpreter} failed: {first}", rest)


class InterpreterMissingError(NixOciError):
    """None of the places where an interpreter could be has one.

    :param places: that were looked at.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.places = tuple(places)
        super().__init__(f"There is no interpreter at {' or '.join(places)}.")


def run_interpreter(
    nix: Nix,
    interpreter: str,
    arguments: Sequence[str],
    *,
    standard_input: bytes = b"",
    environment: Mapping[str, str] = {},
) -> bytes:
    """Runs a Python of the Nix store, in no directory of its own, and returns its standard output.

    It finds nothing in its environment but `environment`. Bytecode is not written, since root could, into
    the store, and its paths would no longer be what they are registered as.

    :param interpreter: a file in a valid store path.
    :raises InterpreterFailedError: it does not run here, or failed.
    """
    words, environment = words_of(nix, interpreter, ("-B", *arguments), environment)
    try:
        result = subprocess.run(
            words,
            input=standard_input,
            env=dict(environment),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
    except OSError as error:
        raise InterpreterFailedError(interpreter, error.strerror or str(error)) from None
    if result.returncode:
        message = result.stderr.decode(errors="replace").strip()
        raise InterpreterFailedError(interpreter, message or f"exit status {result.returncode}")
    return result.stdout


def find_interpreter(nix: Nix, places: Sequence[str]) -> str:
    """Returns the first of several places where there is a file.

    :param places: files in valid store paths.
    :raises InterpreterMissingError: there is none.
    """
    for place in places:
        if os.path.isfile(nix.location(place)):
            return place
    raise InterpreterMissingError(places)


def describe_interpreter(nix: Nix, interpreter: str, library: str) -> bytes:
    """Returns what an interpreter is, as JSON: its path, and its *complete platform*.

    That is what pex calls the tags of the wheels that it takes, and the values of environment markers.

    :param library: a directory with the package `packaging`, which the interpreter asks about itself.
    :raises InterpreterFailedError: it does not run here, or is no Python that `packaging` is for.
    """
    output = run_interpreter(
        nix, interpreter, ("-I", "-S", "-c", _DESCRIBE, os.path.abspath(library))
    )
    try:
        platform = parse_platform(output)
    except InvalidInputError as error:
        raise InterpreterFailedError(interpreter, f"it is no Python: {error}") from None
    return canonical_json("interpreter", {"path": interpreter, "platform": platform})


def parse_platform(data: bytes) -> dict[str, Any]:
    """Parses a complete platform, as pex prints and reads it.

    :raises InvalidInputError: not such a document.
    """
    return _complete_platform(parse_object("complete platform", data))


def _complete_platform(document: Mapping[str, Any]) -> dict[str, Any]:
    markers = get_field(document, "marker_environment", dict)
    get_field(markers, "python_full_version", str)
    return {
        "compatible_tags": get_list(document, "compatible_tags", str),
        "marker_environment": markers,
    }


def parse_interpreter(data: bytes) -> tuple[str, dict[str, Any]]:
    """Parses what `describe_interpreter` returned: the path, and the complete platform.

    :raises InvalidInputError: not such a document.
    """
    document = parse_object("interpreter", data)
    return get_field(document, "path", str), _complete_platform(
        get_field(document, "platform", dict)
    )


def language_version(platform: Mapping[str, Any]) -> str:
    """Returns the version of the language that a complete platform says, such as `3.11.2`."""
    return get_field(get_field(platform, "marker_environment", dict), "python_full_version", str)


def platform_file(platform: Mapping[str, Any]) -> bytes:
    """Returns a complete platform as the file that pex reads."""
    return canonical_json("complete platform", platform)
