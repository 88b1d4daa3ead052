"""Commands that lay out Python programs: interpreter, distributions and bytecode."""

from __future__ import annotations

import os

from nixoci.cli.commands.files import write_output
from nixoci.cli.commands.options import add_output, find_nix

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def interpreter_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("places", nargs="+", help="files in valid store paths; the first that is there")
    command.add_argument(
        "--library", required=True, metavar="DIRECTORY", help="has the Python package `packaging`"
    )
    add_output(command)


def interpreter(options: argparse.Namespace) -> None:
    from nixoci.program.in_store import store_path_of
    from nixoci.python.interpreter import describe_interpreter, find_interpreter

    nix = find_nix(options)
    nix.require_valid([store_path_of(place) for place in options.places])
    place = find_interpreter(nix, options.places)
    write_output(options.output, describe_interpreter(nix, place, options.library))


def distributions_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("tree", help="directory that `pex3 venv create --layout=flat` made")
    command.add_argument("--place", required=True, help="directory of the environment in the image")
    command.add_argument("--version", required=True, help="of the language, such as 3.11")
    command.add_argument("--interpreter", required=True, help="path of the interpreter in the image")
    command.add_argument(
        "--changed", required=True, metavar="DIRECTORY", help="gets the files that are others there"
    )
    add_output(command)


def distributions(options: argparse.Namespace) -> None:
    from nixoci.python.distributions import normalize_distributions
    from nixoci.python.environment import Environment

    environment = Environment(options.place, options.version, options.interpreter)
    os.makedirs(options.changed, exist_ok=True)
    installed = normalize_distributions(options.tree, environment, options.changed)
    write_output(options.output, installed.to_json())


def bytecode_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("interpreter", help="file in a valid store path")
    command.add_argument("tree", help="directory with modules")
    command.add_argument("--place", required=True, help="where that directory is in the image")
    command.add_argument(
        "--without", action="append", default=[], metavar="NAME", help="at the top of it: has no modules"
    )
    command.add_argument(
        "--directory", required=True, help="gets the bytecode, each file beside the place of its module"
    )


def bytecode(options: argparse.Namespace) -> None:
    from nixoci.program.in_store import store_path_of
    from nixoci.python.bytecode import write_bytecode

    nix = find_nix(options)
    nix.require_valid([store_path_of(options.interpreter)])
    write_bytecode(
        nix,
        options.interpreter,
        options.tree,
        options.directory,
        options.place,
        options.without,
    )


COMMANDS = {
    "python-interpreter": (interpreter_options, interpreter),
    "python-distributions": (distributions_options, distributions),
    "python-bytecode": (bytecode_options, bytecode),
}
