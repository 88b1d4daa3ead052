"""The parser of the command line. The options of a command are in the module of what it does.

Every command is a process of its own. So only the module of the one that is asked for is imported,
and that one imports what it needs when it runs: a digest must not wait for what a build needs.
"""

from __future__ import annotations

import argparse

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping

    #: For each command of a module: what adds its options to a parser, and what runs it.
    Commands = Mapping[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[..., Any]]]


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of `nixoci`; an option `run` of what it parses is the command."""
    parser = argparse.ArgumentParser(
        prog="nixoci",
        description="Builds OCI images from Nix store closures without layer archives.",
        allow_abbrev=False,
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
    subparsers = parser.add_subparsers(
        required=True, metavar="COMMAND", parser_class=_CommandParser
    )
    for name, (help, _) in _COMMANDS.items():
        command = subparsers.add_parser(name, help=help, description=help, allow_abbrev=False)
        command.name = name
    return parser


class _CommandParser(argparse.ArgumentParser):
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


def _layers() -> Commands:
    from nixoci.cli.commands.layers import COMMANDS

    return COMMANDS


    "elf-facts": ("List what the ELF files of a directory need, as JSON.", _elf),
    "store-libraries": ("List what programs in the store load, as JSON.", _elf),
