"""Commands for podman and docker: load and run."""

from __future__ import annotations

import os
import sys

from nixoci.cli.commands.files import (
    once_done,
    print_line,
    read_input,
    require_standard_output,
)
from nixoci.cli.commands.options import (
    add_log_requests,
    add_origins,
    add_registries,
    layer_source,
    request_log,
)

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def load_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_origins(command)
    add_registries(command)
    _add_engine(command)
    add_log_requests(command)


def load(options: argparse.Namespace) -> None:
    require_standard_output()
    identifier = _load_image(options)[1]
    with once_done("The image was loaded"):
        print_line(identifier)


def run_options(command: argparse.ArgumentParser) -> None:
    command.epilog = "What follows -- is the command or the arguments of the container."
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_origins(command)
    add_registries(command)
    _add_engine(command)
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
    command.add_argument(
        "--ends-with-parent",
        action="store_true",
        help="stop the container when the process that started this command is gone",
    )
    command.usage = "%(prog)s [OPTION]... descriptor [-- ARGUMENT...]"


def run(options: argparse.Namespace) -> int:
    from nixoci.engine.run import RunOptions, run_container

    run_options = RunOptions(
        arguments=tuple(options.arguments),
        environment_names=tuple(options.environment_names),
        ports=tuple(options.ports),
        engine_options=tuple(options.engine_options),
        stop_timeout=options.stop_timeout,
        ends_with_parent=options.ends_with_parent,
    )
    engine, identifier = _load_image(options)
    return run_container(
        engine,
        identifier,
        run_options,
        lambda line: print(f"nixoci: {line}", file=sys.stderr, flush=True),
    )


def _load_image(options: argparse.Namespace) -> tuple[Any, str]:
    from nixoci.engine.client import find_engine
    from nixoci.engine.load import load_image
    from nixoci.image.index.descriptor import descriptor_for, read_descriptor
    from nixoci.image.index.platforms import machine_platform, parse_platform
    from nixoci.image.reference import Reference
    from nixoci.registry.progress import progress_for

    descriptor = descriptor_for(
        read_descriptor(read_input(options.descriptor)),
        machine_platform() if options.platform is None else parse_platform(options.platform),
    )
    references = [Reference.parse(text) for text in options.references]
    engine = find_engine(options.engine, os.environ)
    progress = progress_for(sys.stderr)
    try:
        identifier = load_image(
            engine,
            descriptor,
            layer_source(options, descriptor.recipes, show=progress.working).write_layer,
            references=references,
            log=request_log(options),
        )
    finally:
        progress.close()
    return engine, identifier


def _add_engine(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--engine", help="podman or docker (default: the first of these that answers)"
    )
    command.add_argument(
        "--reference",
        dest="references",
        action="append",
        default=[],
        help="name of the image in the engine, repository:tag (default: those of the descriptor)",
    )
    command.add_argument(
        "--platform",
        metavar="OS/ARCHITECTURE[/VARIANT]",
        help="which image of an index to take (default: that for this machine)",
    )


COMMANDS = {
    "load": (load_options, load),
    "run": (run_options, run),
}
