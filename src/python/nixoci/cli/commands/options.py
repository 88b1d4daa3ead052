"""Options that several commands have, and what they stand for."""

from __future__ import annotations

import os
import sys

from nixoci.cli.commands.files import read_input

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", default="-", help="file to write (default: standard output)")


def find_nix(options: argparse.Namespace) -> Any:
    """Returns the `Nix` that --tools names, or that of PATH."""
    from nixoci.store.nix import Nix

    if options.tools is None:
        return Nix.find(os.environ)
    from nixoci.store.tools import read_tools

    return read_tools(options.tools)


def add_source(command: argparse.ArgumentParser, *, required: bool) -> None:
    """Adds what says where an attribute is."""
    command.add_argument("--root", default=".", help="directory of all the sources")
    command.add_argument(
        "--root-is-copy",
        action="store_true",
        help="the root was made for this: set modification times in it to 1, which flakes see, and "
        "modes as NAME.executables.json beside it says",
    )
    command.add_argument("--source", required=required, help="Nix file, relative to the root")
    command.add_argument("--attr", default="", help="attribute path")
    command.add_argument("--system", default="x86_64-linux", help="Nix system to build for")
    command.add_argument(
        "--arguments",
        dest="function_arguments",
        metavar="JSON",
        default="",
        help="object of arguments for a file that is a function",
    )
    command.add_argument(
        "--import-from-derivation",
        action="store_true",
        help="evaluation may build what it needs to go on",
    )
    command.add_argument(
        "--experimental-feature",
        dest="features",
        action="append",
        default=[],
        metavar="NAME",
        help="experimental feature of Nix that the sources need",
    )


def attribute_of(options: argparse.Namespace) -> Any:
    """Returns the `Attribute` that the options of `add_source` name."""
    from nixoci.store.evaluate import Attribute

    return Attribute(
        options.root,
        options.source,
        options.attr,
        options.system,
        tuple(options.features),
        options.root_is_copy,
        options.function_arguments,
        options.import_from_derivation,
    )


def add_kept_layers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--kept-layers", metavar="DIRECTORY", help="files that `digest --keep` wrote"
    )


def add_contents(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--contents",
        metavar="DIRECTORY",
        help="contents of files that are in no Nix store: each as a file named by its SHA-256, or at its "
        "place in the image",
    )


def add_progress(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--progress",
        metavar="FILE",
        help="file that has what Nix builds and fetches, and how much is left, in one line, while it does",
    )


def add_origins(command: argparse.ArgumentParser) -> None:
    """Adds what `layer_source` needs."""
    command.add_argument(
        "--origins",
        metavar="FILE",
        help="JSON file that says how store paths that are missing here are built; without it, "
        "they must be there",
    )
    add_kept_layers(command)
    add_contents(command)
    command.add_argument(
        "--copy-from",
        action="append",
        default=[],
        metavar="REPOSITORY",
        help="repository, with its registry, that may have layers of the image: what is missing here is copied from "
        "there before anything is built",
    )
    command.add_argument(
        "--registry-environment",
        metavar="FILE",
        help="JSON file with variables for the registries that layers are copied from: where credentials and proxies "
        "are (default: this environment)",
    )


def layer_copier(options: argparse.Namespace) -> Any:
    """Returns the `LayerCopier` of --copy-from and --registries."""
    from nixoci.registry.reading.copies import LayerCopier

    environment: Any = os.environ
    if options.registry_environment is not None:
        from nixoci.json_input import get_field, parse_object

        document = parse_object("environment", read_input(options.registry_environment))
        environment = {name: get_field(document, name, str) for name in document}
    return LayerCopier(options.copy_from, environment, registries(options))


def layer_source(
    options: argparse.Namespace, recipes: Any, copier: Any = None, show: Any = None
) -> Any:
    """Returns the `LayerSource` of --origins, --kept-layers, --contents and --copy-from.

    :param recipes: of the layers that may be asked for.
    :param copier: that of `layer_copier`, if somebody else needs it as well.
    :param show: as of `LayerSource`.
    """
    from nixoci.layer.source import LayerSource, origins_from_json

    find_packages(options)
    origins: Any = ()
    if options.origins is not None:
        directory = os.path.dirname(os.path.abspath(options.origins))
        origins = origins_from_json(read_input(options.origins), directory)
    copy = (copier or layer_copier(options)).copy
    return LayerSource(
        lambda: find_nix(options),
        origins,
        options.kept_layers,
        options.contents,
        copy,
        copies_missing=bool(options.copy_from),
        recipes=recipes,
        show=show,
    )


def find_packages(options: argparse.Namespace) -> None:
    """Makes the packages of the sandbox importable; elsewhere they are, or are not, anyway."""
    if options.tools is not None:
        from nixoci.store.tools import read_packages

        sys.path.extend(read_packages(options.tools))


def add_registries(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--registries", metavar="FILE", help="JSON file with settings of registries"
    )


def registries(options: argparse.Namespace) -> Any:
    """Returns the `Registries` of --registries."""
    from nixoci.registry.settings import Registries

    if options.registries is None:
        return Registries()
    return Registries.from_json(read_input(options.registries))


def add_log_requests(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--log-requests", action="store_true", help="print a line for every request of a client"
    )


def request_log(options: argparse.Namespace) -> Any:
    """Returns what a registry calls with each line of its log."""
    if not options.log_requests:
        return lambda line: None
    return lambda line: print(f"nixoci: {line}", file=sys.stderr, flush=True)
