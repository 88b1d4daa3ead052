"""A program on files: formatters and linters, which change files in place or print what they think of them."""

from __future__ import annotations

import os
import subprocess

from nixoci.children import child
from nixoci.errors import NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json

# As in `nixoci.store.nix`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Sequence

    from nixoci.store.nix import Nix

#: All that a program finds in its environment. What it prints is in Unicode, and without colours. One that is
#: written in Python writes no bytecode: root could, into the store, and its paths would be others then.
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
    "PATH": os.defpath,
    "PYTHONDONTWRITEBYTECODE": "1",
}


class ProgramMissingError(NixOciError):
    """None of the places where a program could be has one.

    :param places: that were looked at.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.places = tuple(places)
        super().__init__(f"There is no program at {' or '.join(places)}.")


class ProgramNotStartedError(NixOciError):
    """This machine cannot run a program."""

    def __init__(self, program: str, why: str) -> None:
        self.program = program
        super().__init__(f"{program} does not run on this machine: {why}.")


class ProgramRun:
    """What is run, and on what.

    :ivar places: of the program; the first that is there is run.
    :ivar in_store: they are in store paths, which must be valid.
    :ivar directory: where it runs.
    """

    __slots__ = ("places", "in_store", "arguments", "directory")

    def __init__(
        self, places: Sequence[str], in_store: bool, arguments: Sequence[str], directory: str
    ) -> None:
        self.places = tuple(places)
        self.in_store = in_store
        self.arguments = tuple(arguments)
        self.directory = directory

    @classmethod
    def from_json(cls, data: bytes) -> ProgramRun:
        """:raises InvalidInputError: not such a document."""
        document = parse_object("run of a program", data)
        return cls(
            get_list(document, "places", str),
            get_field(document, "in_store", bool),
            get_list(document, "arguments", str),
            get_field(document, "directory", str),
        )


def run_on_files(run: ProgramRun, find_nix: Callable[[], Nix]) -> bytes:
    """Runs a program and returns, as JSON, its `status` and what it printed (`stdout`, `stderr`).

    :raises InvalidPathError: a store path that it may be in is not valid.
    :raises ProgramMissingError: it is at none of the places.
    :raises ProgramNotStartedError: this machine cannot run it.
    """
    words, environment = _start(run, find_nix)
    try:
        with child(
            words,
            env=dict(environment),
            cwd=run.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            stdout, stderr = process.communicate()
    except OSError as error:
        raise ProgramNotStartedError(words[0], error.strerror or str(error)) from None
    return canonical_json(
        "report of a program",
        {
            "status": process.returncode,
            "stdout": stdout.decode(errors="replace"),
            "stderr": stderr.decode(errors="replace"),
        },
    )


def _start(
    run: ProgramRun, find_nix: Callable[[], Nix]
) -> tuple[Sequence[str], Mapping[str, str]]:
    if not run.in_store:
        for place in run.places:
            if os.path.isfile(place):
                return (place, *run.arguments), ENVIRONMENT
        raise ProgramMissingError(run.places)
    from nixoci.program.in_store import store_path_of, words_of

    nix = find_nix()
    nix.require_valid([store_path_of(place) for place in run.places])
    for place in run.places:
        if os.path.isfile(nix.location(place)):
            return words_of(nix, place, run.arguments, ENVIRONMENT)
    raise ProgramMissingError(run.places)
