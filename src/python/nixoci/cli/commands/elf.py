"""Commands for what ELF files need, and what the store has of it: elf-facts and store-libraries."""

from __future__ import annotations

import os

from nixoci.cli.commands.files import read_input, write_output
from nixoci.cli.commands.options import add_output, find_nix, find_packages
from nixoci.errors import NixOciError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def elf_facts_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", help="directory of files, without others below it")
    add_output(command)


def elf_facts(options: argparse.Namespace) -> None:
    from nixoci.elf.facts import facts_to_json, read_elf

    find_packages(options)
    try:
        names = sorted(os.listdir(options.directory))
    except OSError as error:
        raise NixOciError(f"Cannot list {options.directory}: {error.strerror}.") from None
    read = ((name, read_elf(os.path.join(options.directory, name))) for name in names)
    facts = {name: known for name, known in read if known is not None}
    write_output(options.output, facts_to_json(facts))


def store_libraries_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "request",
        help="JSON file: `store_paths` (NAR hash by path), and `programs` and `directories` in these "
        "(- for standard input)",
    )
    add_output(command)


def list_store_libraries(options: argparse.Namespace) -> None:
    from nixoci.elf.store_facts import StoreLibrariesRequest
    from nixoci.elf.store_libraries import store_libraries

    request = StoreLibrariesRequest.from_json(read_input(options.request))
    find_packages(options)
    nix = find_nix(options)
    nix.require_valid(request.paths)
    found = store_libraries(request, nix.location, nix.store_root)
    write_output(options.output, found.to_json())


COMMANDS = {
    "elf-facts": (elf_facts_options, elf_facts),
    "store-libraries": (store_libraries_options, list_store_libraries),
}
