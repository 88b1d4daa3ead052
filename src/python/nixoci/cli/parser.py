"""The options and help texts of the command line."""

from __future__ import annotations

import argparse

from nixoci.cli import commands

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(name, help=help, description=help, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    def add_source(command: argparse.ArgumentParser, *, required: bool) -> None:
        command.add_argument("--root", default=".", help="directory of all the sources")
        command.add_argument("--source", required=required, help="Nix file, relative to the root")
        command.add_argument("--attr", default="", help="attribute path")
        command.add_argument("--system", default="x86_64-linux", help="Nix system to build for")
        command.add_argument(
            "--experimental-feature",
            dest="features",
            action="append",
            default=[],
            metavar="NAME",
            help="experimental feature of Nix that the sources need",
        )

    def add_output(command: argparse.ArgumentParser) -> None:
        command.add_argument("--output", default="-", help="file to write (default: standard output)")

    def add_kept_layers(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--kept-layers", metavar="DIRECTORY", help="files that `digest --keep` wrote"
        )

    def add_origins(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--origins",
            metavar="FILE",
            help="JSON file that says how store paths that are missing here are built; without it, "
            "they must be there",
        )
        add_kept_layers(command)

    command = add("evaluate", commands.evaluate, "Evaluate Nix sources to a derivation, as JSON.")
    add_source(command, required=True)
    add_output(command)

    command = add("realise", commands.realise, "Make the outputs of a derivation valid in the store.")
    add_source(command, required=False)
    command.add_argument("--derivation", required=True, help="JSON file made by `evaluate`")
    command.add_argument("--log", help="file that gets the build log, while it is written")
    command.add_argument("outputs", nargs="*", help="names of outputs (default: the default one)")

    command = add("closure", commands.closure, "Print the closure graph of store paths, as JSON.")
    command.add_argument("paths", nargs="+", help="valid store paths")
    add_output(command)

    command = add("database", commands.database, "Make the Nix database of a closed set of store paths.")
    command.add_argument("graph", help="JSON file made by `closure` (- for standard input)")
    command.add_argument("--output", required=True, help="the SQLite file to make")

    command = add("split", commands.split, "Split the paths of a closure graph over layers.")
    command.add_argument(
        "request",
        nargs="?",
        default="-",
        help="JSON file with graph and max_layers, and, if you like, previous, weights, groups and "
        "first_party (default: standard input)",
    )
    command.add_argument(
        "--strategy",
        default="expected_cost",
        metavar="NAME",
        help="expected_cost, explicit, popularity or size_first (default: %(default)s)",
    )
    add_output(command)

    command = add("digest", commands.digest, "Digest the layer that a recipe makes.")
    command.add_argument("recipe", help="JSON file of a layer recipe (- for standard input)")
    command.add_argument(
        "--keep",
        metavar="FILE",
        help="write the layer itself too, compressed, since nobody could make it again",
    )
    command.add_argument(
        "--kept-layers",
        metavar="DIRECTORY",
        help="files that `digest --keep` wrote: digest that of the recipe, without any store",
    )
    command.add_argument(
        "--compression",
        default="none",
        metavar="FORMAT",
        help="none, gzip or zstd (default: %(default)s)",
    )
    command.add_argument(
        "--compression-level",
        type=int,
        metavar="NUMBER",
        help="1 to 12 for gzip, 1 to 22 for zstd (default: 6 and 3)",
    )
    command.add_argument(
        "--compressor",
        metavar="VERSION",
        help="name and version of the compressor that must be used (default: the one that this "
        "nixoci is made for)",
    )
    add_output(command)

    command = add("read-file", commands.read_file, "Print the contents of a store path that is a file.")
    command.add_argument("path", help="valid store path")
    add_output(command)

    command = add("tools", commands.tools, "Find Nix, and write down for later steps where it is.")
    command.add_argument("directory", help="directory to write to")
    command.add_argument(
        "--environment-name",
        dest="environment_names",
        action="append",
        default=[],
        help="name of one more environment variable that Nix needs",
    )
    command.add_argument(
        "--setting",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of nix.conf for every command of Nix",
    )
    command.add_argument(
        "--compressor-python",
        metavar="FILE",
        help="interpreter for the steps that compress (default: none)",
    )
    command.add_argument(
        "--compressor-directory",
        dest="compressor_directories",
        action="append",
        default=[],
        metavar="DIRECTORY",
        help="where that interpreter finds the packages that compress",
    )

    command = add("write", commands.write_image, "Write an image, streamed from the store, to a file.")
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_origins(command)
    command.add_argument(
        "--format", required=True, choices=("oci-layout", "oci-archive", "docker-archive")
    )
    command.add_argument("--output", required=True, help="file or directory to make")
    command.add_argument(
        "--reference",
        dest="references",
        action="append",
        default=[],
        help="name of the image in the output, repository:tag (default: those of the descriptor)",
    )

    command = add("verify", commands.verify, "Check that what the store has of an image is what made it.")
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_kept_layers(command)

    def add_registries(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--registries", metavar="FILE", help="JSON file with settings of registries"
        )

    command = add(
        "previous",
        commands.previous,
        "Print the store paths of each layer of a published image, as JSON, for the field `previous` "
        "of a target.",
    )
    command.add_argument(
        "reference", help="repository:tag of an image with annotations of its layers"
    )
    add_registries(command)
    add_output(command)

    command = add("push", commands.push, "Push an image, streamed from the store, to registries.")
    command.add_argument("descriptor", help="file that `pants package` wrote")
    command.add_argument(
        "references",
        nargs="*",
        metavar="reference",
        help="repository:tag to push to (default: those of the descriptor)",
    )
    add_origins(command)
    add_registries(command)
    command.add_argument(
        "--mount-from",
        action="append",
        default=[],
        metavar="REPOSITORY",
        help="repository of the same registry that may have layers of the image already",
    )
    command.add_argument(
        "--jobs", type=int, default=4, help="layers to upload at the same time (default: 4)"
    )
    command.add_argument(
        "--result", metavar="FILE", help="JSON file to write that says what was pushed"
    )

    def add_engine(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--engine", help="podman or docker (default: the first of these that answers)"
        )
        command.add_argument(
            "--reference",
            dest="references",
            action="append",
            default=[],
            help="name of the image in the engine, repository:tag (default: those of the "
            "descriptor)",
        )

    def add_log_requests(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--log-requests", action="store_true", help="print a line for every request of a client"
        )

    command = add("serve", commands.serve, "Serve images, streamed from the store, as a registry does.")
    command.add_argument(
        "descriptors", nargs="+", metavar="descriptor", help="file that `pants package` wrote"
    )
    add_origins(command)
    command.add_argument(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="where to listen, port 0 for a free one (default: %(default)s). Whoever can connect "
        "may read the images",
    )
    add_log_requests(command)

    command = add("load", commands.load, "Load an image, streamed from the store, into podman or docker.")
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_origins(command)
    add_engine(command)
    add_log_requests(command)

    command = add("run", commands.run, "Load an image into podman or docker and run it.")
    command.epilog = "What follows -- is the command or the arguments of the container."
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_origins(command)
    add_engine(command)
    add_log_requests(command)
    command.add_argument(
        "--env",
        dest="environment_names",
        action="append",
        default=[],
        metavar="NAME",
        help="environment variable that the container gets with the value that it has here",
    )
    command.add_argument(
        "--publish",
        dest="ports",
        action="append",
        default=[],
        metavar="PORTS",
        help="port of the container to open on this machine, as in `podman run`: 8080:80",
    )
    command.add_argument(
        "--engine-option",
        dest="engine_options",
        action="append",
        default=[],
        metavar="OPTION",
        help="one more word for `podman run` or `docker run`: --engine-option=--network=none",
    )
    command.add_argument(
        "--stop-timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="time that the container has to end after SIGINT or SIGTERM (default: %(default)g)",
    )
    command.usage = "%(prog)s [OPTION]... descriptor [-- ARGUMENT...]"
    return parser
