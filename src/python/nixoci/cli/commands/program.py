"""The command that runs a program on files."""

from __future__ import annotations

from nixoci.cli.commands.files import read_input, write_output
from nixoci.cli.commands.options import add_output, find_nix

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def run_program_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("request", help="JSON file: places, in_store, arguments, directory")
    add_output(command)


def run_program(options: argparse.Namespace) -> None:
    from nixoci.program.run import ProgramRun, run_on_files

    run = ProgramRun.from_json(read_input(options.request))
    write_output(options.output, run_on_files(run, lambda: find_nix(options)))


COMMANDS = {"run-program": (run_program_options, run_program)}
