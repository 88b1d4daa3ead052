"""What a sandboxed step needs of its machine: where Python and Nix are, and Nix's environment.

Pants' sandboxes are the same on every machine, so that results can be shared. What differs between
machines is written, once for each machine, to a directory that is in no cache key:

    DIRECTORY/python3       symbolic link to an interpreter
    DIRECTORY/tools.json    {"nix": directory of the programs, "environment": {…}, "settings": {…},
                             "store": URL, "buildGroup": name, "configuration": {"files": […], "digest": …}}
    DIRECTORY/packages-python3  symbolic link to the interpreter of the steps that need packages
    DIRECTORY/packages.json     {"directories": [where it finds these packages]}

Nearly all steps need the standard library alone. Those that compress, or read ELF files, need packages.

The store, and the group of build users, are what Nix says when it is asked, here or in the first step that needs
them. It is asked again when a file that configures Nix has changed, so steps need not ask, and see a change all the same.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

from nixoci.atomic import OutputError, output_errors, replace_file, replace_link
from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object, read_all
from nixoci.store.configuration import configuration_digest
from nixoci.store.nix import ENVIRONMENT_NAMES, Nix, NixNotFoundError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, Sequence

TOOLS_FILE = "tools.json"
PYTHON_LINK = "python3"
PACKAGES_FILE = "packages.json"
PACKAGES_PYTHON_LINK = "packages-python3"


def write_tools(
    directory: str,
    environ: Mapping[str, str],
    extra_names: Sequence[str] = (),
    settings: Sequence[tuple[str, str]] = (),
    *,
    needs_nix: bool = True,
) -> Optional[Nix]:
    """Finds Nix in `environ`, checks its version and describes both in `directory`.

    The interpreter that runs this is the one that steps will use. The file can be read by its owner
    only, as the user may have named variables in `extra_names` that are nobody else's business.

    :param settings: of `nix.conf`, for every command of Nix.
    :param needs_nix: False where the interpreter is enough; whoever then needs Nix is told that there is
        none.
    :raises NixNotFoundError: no Nix in `PATH`.
    :raises NixTooOldError: it is too old.
    :raises StoreNotHereError: its store has no files on this machine.
    :raises OutputError: the operating system refused.
    """
    try:
        nix: Optional[Nix] = Nix.find(environ)
    except NixNotFoundError:
        if needs_nix:
            raise
        nix = None
    names = {*ENVIRONMENT_NAMES, *extra_names, "PATH"}
    environment = {name: environ[name] for name in sorted(names) if name in environ}
    document: dict[str, object] = {
        "nix": None if nix is None else nix.directory,
        "settings": dict(settings),
        "environment": environment,
    }
    if nix is not None:
        nix = Nix(nix.directory, environment, tuple(sorted(settings)))
        nix.version()
    if nix is not None and needs_nix:
        document.update(_description(nix, nix.configuration_files()))
        # Raises what is wrong with it.
        nix.store_directory
    _write(directory, TOOLS_FILE, document, PYTHON_LINK, sys.executable)
    return nix


def write_packages(directory: str, python: str, packages: Sequence[str]) -> None:
    """Describes in `directory` how steps that need packages are run.

    Packages are made for one version of Python, so they come with the interpreter that they were
    installed for.

    :param packages: directories to import them from.
    """
    document = {"directories": list(packages)}
    _write(directory, PACKAGES_FILE, document, PACKAGES_PYTHON_LINK, python)


def _write(
    directory: str, name: str, document: Mapping[str, object], link: str, python: str
) -> None:
    with output_errors(directory):
        os.makedirs(directory, exist_ok=True)
    _write_file(directory, name, document)
    replace_link(os.path.join(directory, link), os.path.realpath(python))


def _write_file(directory: str, name: str, document: Mapping[str, object]) -> None:
    with replace_file(os.path.join(directory, name), durable=False, private=True) as file:
        file.write(json.dumps(document, sort_keys=True).encode())


def read_packages(path: str) -> list[str]:
    """Returns the directories that packages are imported from.

    :param path: the file `tools.json`, beside which `write_packages` wrote. There are none if
        it did not.
    :raises InvalidInputError: not such a file.
    """
    document = _read(os.path.join(os.path.dirname(path), PACKAGES_FILE))
    return [] if document is None else get_list(document, "directories", str)


def read_tools(path: str) -> Nix:
    """Reads what `write_tools` wrote.

    :param path: the file `tools.json`. It is written again if what it says of the store is out of date.
    :raises StoreNotHereError: the store has no files on this machine.
    :raises NixNotFoundError: no such file, or Nix is no longer where it says.
    :raises InvalidInputError: not such a file.
    """
    document = _read(path)
    if document is None or document.get("nix", "") is None:
        raise NixNotFoundError(os.path.dirname(path))
    directory = get_field(document, "nix", str)
    if not os.path.exists(os.path.join(directory, "nix")):
        raise NixNotFoundError(directory)
    settings = _words(document, "settings")
    nix = Nix(directory, _words(document, "environment"), tuple(sorted(settings.items())))
    configuration = get_field(document, "configuration", dict, default={})
    files = get_list(configuration, "files", str, default=[])
    if configuration and configuration_digest(files) == get_field(configuration, "digest", str):
        nix = replace(
            nix,
            known_store=get_field(document, "store", str),
            known_build_group=get_field(document, "buildGroup", str, default=None),
        )
    else:
        document.update(_description(nix, files or nix.configuration_files()))
        try:
            _write_file(os.path.dirname(path), TOOLS_FILE, document)
        except OutputError:
            # The next step asks again.
            pass
    # Raises what is wrong with it.
    nix.store_directory
    return nix


def _read(path: str) -> Optional[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            return parse_object("file of tools", read_all(file, path))
    except FileNotFoundError:
        return None
    except OSError as error:
        why = error.strerror or str(error)
    except InvalidInputError as error:
        # What it says may be secret.
        why = error.why
    raise InvalidInputError("file of tools", path, why)


def _words(document: Mapping[str, object], name: str) -> dict[str, str]:
    """Returns a map of names to values that a process can be given as its environment, or in words.

    :raises InvalidInputError: it is none. Values are not shown, as some are secrets.
    """
    found = document.get(name)
    if not isinstance(found, dict):
        raise InvalidInputError(name, type(found).__name__, "expected an object")
    for key, value in found.items():
        try:
            is_word = b"\0" not in os.fsencode(key + value) and key and "=" not in key
        except (TypeError, UnicodeEncodeError):
            is_word = False
        if not is_word:
            why = "expected the name and the value of a setting or variable"
            raise InvalidInputError(name, key, why)
    return found


def _description(nix: Nix, files: Sequence[str]) -> dict[str, object]:
    """Returns which store and group of build users Nix uses, and what of its configuration says so."""
    # The digest comes before the question: what changes in between is noticed by the next step.
    configuration = {"files": list(files), "digest": configuration_digest(files)}
    return {"configuration": configuration, "store": nix.store, "buildGroup": nix.build_group}
