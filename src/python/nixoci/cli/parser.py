"""The parser of the command line; each command adds its own options, see `nixoci.cli.commands`.

Every command is a process of its own, so only the module of the one that is asked for is imported,
and it imports what it needs when it runs: a digest must not wait for what a build needs.
"""

from __future__ import annotations

import argparse

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, Optional

    #: For each command of a module, what adds it to the result of `add_subparsers`.
    Commands = Mapping[str, Callable[[Any], None]]


def make_parser(command: Optional[str] = None) -> argparse.ArgumentParser:
    """Returns the parser of `nixoci`; an option `run` of what it parses is the command.

    :param command: the only one that the words to parse can name, if that is known.
    """
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
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in [command] if command in _MODULES else _MODULES:
        _MODULES[name]()[name](subparsers)
    return parser


def _sources() -> Commands:
    from nixoci.cli.commands.sources import COMMANDS

    return COMMANDS


def _layers() -> Commands:
    from nixoci.cli.commands.layers import COMMANDS

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


#: What imports the module of a command, in the order in which --help lists the commands.
_MODULES = {
    "evaluate": _sources,
    "realise": _sources,
    "closure": _sources,
    "database": _sources,
    "split": _sources,
    "digest": _layers,
    "read-file": _layers,
    "tools": _layers,
    "write": _images,
    "verify": _images,
    "previous": _images,
    "push": _registries,
    "serve": _registries,
    "load": _engines,
    "run": _engines,
}
