"""The parser of the command line. The options of a command are in the module of what it does.

Every command is a process of its own. So only the module of the one that is asked for is imported,
and that one imports what it needs when it runs: a digest must not wait for what a build needs.
"""

from __future__ import annotations

import argparse
import os

from nixoci.cli.commands.files import print_bytes, print_error, print_line
from nixoci.errors import printable

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping

    #: For each command of a module: what adds its options to a parser, and what runs it.
    Commands = Mapping[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[..., Any]]]


def make_parser(chosen: str = "") -> argparse.ArgumentParser:
    """Returns the parser of `nixoci`; an option `run` of what it parses is the command.

    :param chosen: the command that will be parsed. To make a parser for each takes as long as a small digest, so only
        that one is known then; if there is no such command, all are.
    """
    parser = _Parser(
        prog="nixoci",
        description="Builds OCI images from Nix store closures without layer archives.",
        allow_abbrev=False,
        formatter_class=_formatter,
    )
    parser.add_argument(
        "--tools",
        metavar="FILE",
        help="JSON file that says where Nix is and which environment it gets (default: PATH and "
        "this environment)",
    )
    parser.add_argument(
        "--json-errors", action="store_true", help="report errors as JSON on standard output"
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    subparsers = parser.add_subparsers(
        required=True, metavar="COMMAND", parser_class=_CommandParser, prog=parser.prog
    )
    names = (chosen,) if chosen in _COMMANDS else tuple(_COMMANDS)
    for name in names:
        help, _ = _COMMANDS[name]
        command = subparsers.add_parser(
            name, help=help, description=help, allow_abbrev=False, formatter_class=_formatter
        )
        command.name = name
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Returns what formats help texts.

    A parser asks for one with each argument. For the width of the terminal it would import `shutil`, and with it what
    unpacks archives.
    """
    width = os.environ.get("COLUMNS", "")
    try:
        columns = int(width) if width.isdecimal() else os.get_terminal_size(1).columns
    except OSError:
        columns = 0
    return argparse.HelpFormatter(prog, width=(columns or 80) - 2)


class _Parser(argparse.ArgumentParser):
    """A parser that prints as all of the program does."""

    def print_help(self, file: Any = None) -> None:
        """Prints a help text."""
        print_bytes(self.format_help().encode())

    def error(self, message: str) -> Any:
        """Prints an error and ends with status 2."""
        print_error(f"{self.format_usage()}{self.prog}: error: {printable(message)}")
        self.exit(2)


class _Version(argparse.Action):
    """Prints the version, which is looked for when it is asked for. The program of the steps has none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Ends the process."""
        try:
            from nixoci.version import version
        except ImportError:
            print_line("nixoci (packed by the plugin, without a version)")
        else:
            print_line(f"nixoci {version()}")
        parser.exit()


class _CommandParser(_Parser):
    """The parser of one command, which gets its options when it is asked to parse any."""

    name: str

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses the words that follow the command."""
        if self.get_default("run") is None:
            _, load = _COMMANDS[self.name]
            add_options, run = load()[self.name]
            add_options(self)
            self.set_defaults(run=run)
        return super().parse_known_args(args, namespace)


def _sources() -> Commands:
    from nixoci.cli.commands.sources import COMMANDS

    return COMMANDS


def _many() -> Commands:
    from nixoci.cli.commands.many import COMMANDS

    return COMMANDS


def _locks() -> Commands:
    from nixoci.cli.commands.locks import COMMANDS

    return COMMANDS


def _layers() -> Commands:
    from nixoci.cli.commands.layers import COMMANDS

    return COMMANDS


def _python() -> Commands:
    from nixoci.cli.commands.python import COMMANDS

    return COMMANDS


def _program() -> Commands:
    from nixoci.cli.commands.program import COMMANDS

    return COMMANDS


def _elf() -> Commands:
    from nixoci.cli.commands.elf import COMMANDS

    return COMMANDS


def _images() -> Commands:
    from nixoci.cli.commands.images import COMMANDS

    return COMMANDS


def _registries() -> Commands:
    from nixoci.cli.commands.registries import COMMANDS

    return COMMANDS


def _engines() -> Commands:
    from nixoci.cli.commands.engines import COMMANDS

    return COMMANDS


#: Help and module of each command, in the order in which `nixoci --help` lists them.
_COMMANDS = {
    "evaluate": ("Evaluate Nix sources to a derivation, as JSON.", _sources),
    "realise": ("Make the outputs of a derivation valid in the store.", _sources),
    "closure": ("Print the closure graph of store paths, as JSON.", _sources),
    "database": ("Make the Nix database of a closed set of store paths.", _sources),
    "split": ("Split the paths of a closure graph over layers.", _sources),
    "certificates": ("Bundle the certificates of files and store paths.", _sources),
    "evaluate-many": ("Evaluate many attributes of Nix sources at once.", _many),
    "package-names": ("List the packages of Nix sources, without evaluating them.", _many),
    "realise-many": ("Make the outputs of many derivations valid at once.", _many),
    "closures": ("Query many closure graphs at once.", _many),
    "leave-answer": ("Leave an answer for a step that asks for it.", _many),
    "lock-flake": ("Update the lock file of a copy of a flake, and print it.", _locks),
    "digest": ("Digest the layer that a recipe makes.", _layers),
    "copied-tree": ("List what a recipe copies to the root of the image, as JSON.", _layers),
    "idle-permissions": ("List the permissions of a recipe that change nothing.", _layers),
    "read-file": ("Print the contents of a store path that is a file.", _layers),
    "tools": ("Find Nix, and write down for later steps where it is.", _layers),
    "python-interpreter": ("Describe the Python of an image, as JSON.", _python),
    "python-distributions": ("Make distributions that pex laid out those of an image.", _python),
    "python-bytecode": ("Compile modules with the Python of an image.", _python),
    "run-program": ("Run a program on files, and write down what it says, as JSON.", _program),
    "elf-facts": ("List what the ELF files of a directory need, as JSON.", _elf),
    "store-libraries": ("List what programs in the store load, as JSON.", _elf),
    "write": ("Write an image, streamed from the store, to a file.", _images),
    "list-archive": ("List what is where in an image archive, as JSON.", _images),
    "verify": ("Check that what the store has of an image is what made it.", _images),
    "index": ("Make the descriptor of an index, out of those of its images.", _images),
    "previous": (
        "Print the store paths of each layer of a published image, as JSON, for the field `previous` "
        "of a target.",
        _images,
    ),
    "push": ("Push an image, streamed from the store, to registries.", _registries),
    "serve": ("Serve images, streamed from the store, as a registry does.", _registries),
    "load": ("Load an image, streamed from the store, into podman or docker.", _engines),
    "run": ("Load an image into podman or docker and run it.", _engines),
}
