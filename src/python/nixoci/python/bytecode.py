"""Modules → their bytecode, made by the interpreter that will run them."""

from __future__ import annotations

import itertools
import json
import os
import stat
from importlib.util import find_spec

from nixoci.descent import walk
from nixoci.errors import NixOciError
from nixoci.python.interpreter import run_interpreter
from nixoci.store.nix import Nix

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

#: The most modules that one process compiles. A part of the bytes, see `compile_tree`.
_GROUP = 200


def write_bytecode(
    nix: Nix,
    interpreter: str,
    source: str,
    output: str,
    place: str,
    without: Iterable[str] = (),
) -> None:
    """Compiles all modules of a tree.

    :param interpreter: a file in a valid store path.
    :param source: the directory with the modules.
    :param output: the directory that gets the bytecode, each file at the path that it has below `source`.
    :param place: the directory that `source` is in the image.
    :param without: names at the top of `source` that hold no modules.
    :raises InterpreterFailedError: it does not run here, or failed.
    """
    os.makedirs(output, exist_ok=True)
    request = {
        "source": os.path.abspath(source),
        "output": os.path.abspath(output),
        "place": place,
        "groups": _groups(find_modules(source, frozenset(without))),
        "jobs": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    run_interpreter(
        nix,
        interpreter,
        ("-s", "-S", "-c", _script()),
        standard_input=json.dumps(request).encode(),
        # Sets have one order.
        environment={"PYTHONHASHSEED": "0"},
    )


def find_modules(source: str, without: frozenset[str] = frozenset()) -> Sequence[str]:
    """Returns the paths of modules (`*.py`) below a directory, sorted by the bytes of their names.

    :raises NixOciError: something in it cannot be read.
    """

    def choose(below: str, names: list[str]) -> dict[str, str]:
        return {name: name for name in names if below or name not in without}

    try:
        found = [
            item.path
            for item in walk(os.path.realpath(source), choose)
            if item.kind == stat.S_IFREG and item.path.endswith(".py")
        ]
    except OSError as error:
        raise NixOciError(f"Modules in {source} cannot be read: {error.strerror}.") from None
    return sorted(found, key=lambda path: os.fsencode(path).split(b"/"))


def _groups(modules: Iterable[str]) -> list[list[str]]:
    """Returns what is compiled in one process each: nothing of two directories at the top.

    So the bytecode of a package does not depend on what else is installed.
    """
    groups = []
    for _, some in itertools.groupby(modules, key=lambda path: path.split("/")[0]):
        group = list(some)
        groups += [group[start : start + _GROUP] for start in range(0, len(group), _GROUP)]
    return groups


def _script() -> str:
    """Returns the source of the module that the interpreter runs, from a zip file too."""
    spec = find_spec("nixoci.python.compile_tree")
    source = getattr(spec.loader, "get_source")(spec.name) if spec is not None else None
    if source is None:
        raise NixOciError("nixoci has no source of `nixoci.python.compile_tree`.")
    return str(source)
