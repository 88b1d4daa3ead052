"""The command that updates lock files of flakes."""

from __future__ import annotations

from nixoci.cli.commands.files import write_output
from nixoci.cli.commands.options import add_output, find_nix

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def lock_flake_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--root",
        required=True,
        help="directory of a copy of all the sources: the lock file is written there, and modes and "
        "modification times in it are set as for `evaluate --root-is-copy`",
    )
    command.add_argument("--source", required=True, help="the `flake.nix`, relative to the root")
    command.add_argument(
        "--input",
        dest="inputs",
        action="append",
        default=[],
        metavar="NAME",
        help="input to update, with slashes for one of another input; what is missing is added "
        "(default: all are updated)",
    )
    command.add_argument(
        "--keep", action="store_true", help="keep all that is locked, and add what is missing"
    )
    command.add_argument(
        "--experimental-feature",
        dest="features",
        action="append",
        default=[],
        metavar="NAME",
        help="experimental feature of Nix that the flake needs",
    )
    add_output(command)


def lock_flake(options: argparse.Namespace) -> None:
    from nixoci.errors import NixOciError
    from nixoci.store.locks.update import update_lock

    if options.inputs and options.keep:
        raise NixOciError("Either update inputs (--input), or keep what is locked (--keep).")
    lock = update_lock(
        find_nix(options),
        root=options.root,
        source=options.source,
        inputs=options.inputs,
        keep=options.keep,
        features=options.features,
    )
    write_output(options.output, lock)


COMMANDS = {"lock-flake": (lock_flake_options, lock_flake)}
