"""The command line of the core: `nixoci COMMAND`, one command for each step of the flow.

Pants runs these commands in sandboxes; they work as well outside of Pants. Exit status 0 is success,
`EXIT_NOT_VALID`, `EXIT_NO_IMAGE` and `EXIT_NO_NIX` are conditions that a caller can mend, 1 is any
other error and 2 wrong usage.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys

from nixoci.errors import InvalidInputError, NixOciError

# Every command is a process of its own, and a digest takes little longer than its imports. So no
# module on its way imports `typing`, which only annotations need.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence

#: Store paths that are needed are not valid (`EX_TEMPFAIL` of sysexits.h): realise them, try again.
EXIT_NOT_VALID = 75

#: The registry has no such image (`EX_NOINPUT` of sysexits.h).
EXIT_NO_IMAGE = 66

#: There is no Nix (or, in a Pants sandbox, no Python) where it was looked for.
EXIT_NO_NIX = 76


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one command and returns its exit status."""
    words, after = _split_arguments(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    options.arguments = after
    try:
        status: Optional[int] = options.run(options)
    except NixOciError as error:
        return _report(error, as_json=options.json_errors)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    # Only a command that runs another program has a status of its own.
    return status or 0


def console() -> None:
    """Entry point of the zipapp, and of the command `nixoci` that the wheel installs."""
    status = main()
    # The process ends here, so what is left in memory need not be looked through for cycles.
    gc.freeze()
    sys.exit(status)


def _split_arguments(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Splits off what follows `--` where it belongs to a container and not to us.

    `argparse` cannot: an option between two positional arguments ends the first group of them.
    """
    # Before its command, nixoci takes no other word without a dash than the value of --tools.
    before = [
        word
        for previous, word in zip(["", *words], words)
        if not word.startswith("-") and previous != "--tools"
    ]
    if before[:1] != ["run"] or "--" not in words:
        return words, ()
    position = list(words).index("--")
    return words[:position], words[position + 1 :]


def _report(error: NixOciError, *, as_json: bool) -> int:
    """Tells the user (or, as JSON on standard output, a program) and returns the exit status."""
    if as_json:
        facts = {name: value for name, value in vars(error).items() if _is_plain(value)}
        document = {"error": type(error).__name__, "message": str(error), **facts}
        print(json.dumps(document, sort_keys=True))
    else:
        print(f"nixoci: {error}", file=sys.stderr)
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"InvalidPathError", "StorePathMissingError"}:
        return EXIT_NOT_VALID
    if "NixNotFoundError" in names:
        return EXIT_NO_NIX
    if "ImageUnknownError" in names:
        return EXIT_NO_IMAGE
    return 1


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, (str, int)) for item in value)
    return isinstance(value, (str, int))


# Commands import what they need when they run: a digest must not wait for what a build needs.


def _evaluate(options: argparse.Namespace) -> None:
    _write(options.output, _evaluate_sources(options).to_json())


def _evaluate_sources(options: argparse.Namespace) -> Any:
    from nixoci.evaluate import evaluate

    return evaluate(
        _nix(options),
        root=options.root,
        source=options.source,
        attr=options.attr,
        system=options.system,
        features=options.features,
    )


def _realise(options: argparse.Namespace) -> None:
    from nixoci.evaluate import Derivation
    from nixoci.realise import realise

    derivation = Derivation.from_json(_read(options.derivation))
    outputs = options.outputs or [derivation.default_output]
    again = (lambda: _evaluate_sources(options)) if options.source else None
    for path in realise(_nix(options), derivation, outputs, again, options.log):
        print(path)


def _closure(options: argparse.Namespace) -> None:
    from nixoci.store_path import StorePath

    roots = [StorePath.parse(path) for path in options.paths]
    _write(options.output, _nix(options).closure(roots).to_json())


def _database(options: argparse.Namespace) -> None:
    from nixoci.closure import ClosureGraph
    from nixoci.database import write_database
    from nixoci.registration import registrations_of

    graph = ClosureGraph.from_json(_read(options.graph))
    write_database(registrations_of(graph), os.path.abspath(options.output))


def _split(options: argparse.Namespace) -> None:
    from nixoci.layering.document import split_document

    _write(options.output, split_document(_read(options.request), options.strategy))


def _digest(options: argparse.Namespace) -> None:
    from nixoci.layer import digest_layer, parse_recipe
    from nixoci.recipe import LayerRecipe

    recipe = parse_recipe(_read(options.recipe))
    compression = _compression(options)
    # The layer of a database is made of nothing that is in a store, and needs no Nix.
    if not isinstance(recipe, LayerRecipe):
        _write(options.output, digest_layer(recipe, compression=compression).to_json())
        return
    if options.kept_layers is not None:
        from nixoci.kept_layer import digest_kept_layer

        layer = digest_kept_layer(options.kept_layers, recipe, compression)
        _write(options.output, layer.to_json())
        return
    from nixoci.reproducibility import require_recorded_contents

    nix = _nix(options)
    require_recorded_contents(nix, recipe)
    if options.keep is None:
        from nixoci.processors import has_idle_processor

        layer = digest_layer(
            recipe,
            store_root=nix.store_root,
            overlap=has_idle_processor(),
            compression=compression,
        )
    elif compression is not None:
        raise InvalidInputError(
            "--keep", options.keep, "keep the layer first, then compress it with --kept-layers"
        )
    else:
        from nixoci.kept_layer import keep_layer

        layer = keep_layer(recipe, options.keep, store_root=nix.store_root)
    _write(options.output, layer.to_json())


def _compression(options: argparse.Namespace) -> Any:
    from nixoci.compression import NONE, Compression

    if options.compression == NONE:
        return None
    _find_compressors(options)
    return Compression.create(options.compression, options.compression_level, options.compressor)


def _tools(options: argparse.Namespace) -> None:
    from nixoci.tools import write_tools

    settings = []
    for text in options.settings:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InvalidInputError("setting", text, "expected NAME=VALUE")
        settings.append((name, value))
    write_tools(options.directory, os.environ, options.environment_names, settings)
    if options.compressor_python is not None:
        from nixoci.tools import write_compressors

        write_compressors(
            options.directory, options.compressor_python, options.compressor_directories
        )


def _read_file(options: argparse.Namespace) -> None:
    from nixoci.store_path import StorePath

    nix = _nix(options)
    path = StorePath.parse(options.path)
    nix.require_valid([path])
    _write(options.output, _read(nix.store_root + path))


def _write_image(options: argparse.Namespace) -> None:
    from nixoci.archive import write_docker_archive, write_oci_archive
    from nixoci.atomic import output_errors
    from nixoci.descriptor import Descriptor
    from nixoci.layout import write_oci_layout
    from nixoci.reference import Reference

    descriptor = Descriptor.from_json(_read(options.descriptor))
    output = os.path.abspath(options.output)
    with output_errors(output):
        os.makedirs(os.path.dirname(output), exist_ok=True)
    writers = {
        "oci-layout": write_oci_layout,
        "oci-archive": write_oci_archive,
        "docker-archive": write_docker_archive,
    }
    writers[options.format](
        output,
        descriptor.image,
        descriptor.recipes,
        _layer_source(options).write_layer,
        [Reference.parse(text) for text in options.references] or descriptor.references,
    )


def _verify(options: argparse.Namespace) -> None:
    from nixoci.descriptor import Descriptor
    from nixoci.kept_layer import is_kept
    from nixoci.recipe import LayerRecipe
    from nixoci.reproducibility import require_no_other_contents

    recipes = Descriptor.from_json(_read(options.descriptor)).recipes
    require_no_other_contents(
        _nix(options),
        [
            recipe
            for recipe in recipes
            if isinstance(recipe, LayerRecipe) and not is_kept(options.kept_layers, recipe)
        ],
    )


def _previous(options: argparse.Namespace) -> None:
    from nixoci.published_layers import published_layers_json
    from nixoci.reference import Reference
    from nixoci.registry.pull import fetch_manifest

    reference = Reference.parse(options.reference)
    manifest = fetch_manifest(reference, os.environ, _registries(options))
    document = published_layers_json(reference, manifest)
    # Standard output gets a line end in any case.
    _write(options.output, document.rstrip() if options.output == "-" else document)


def _push(options: argparse.Namespace) -> None:
    from nixoci.descriptor import Descriptor
    from nixoci.reference import Reference
    from nixoci.registry.progress import progress_for
    from nixoci.registry.push import PushOptions, push

    descriptor = Descriptor.from_json(_read(options.descriptor))
    result = push(
        descriptor.image,
        descriptor.recipes,
        [Reference.parse(text) for text in options.references] or descriptor.references,
        _layer_source(options).write_layer,
        os.environ,
        PushOptions(_registries(options), tuple(options.mount_from), options.jobs),
        progress_for(sys.stderr),
    )
    if options.result is not None:
        _write(options.result, result.to_json())
    if options.result != "-":
        print(result.summary())


def _serve(options: argparse.Namespace) -> None:
    from nixoci.descriptor import Descriptor
    from nixoci.registry.served_images import local_references, repository_path, serve_images
    from nixoci.registry.server import ReadOnlyRegistry
    from nixoci.registry.stop_signals import StopSignals

    descriptors = [Descriptor.from_json(_read(path)) for path in options.descriptors]
    images = [(descriptor, local_references(descriptor)) for descriptor in descriptors]
    repositories = serve_images(images, _layer_source(options).write_layer)
    server = ReadOnlyRegistry(
        repositories,
        listen=options.listen,
        log=_log_to_stderr(options),
        failed=lambda error: print(f"nixoci: {error}", file=sys.stderr, flush=True),
    )
    with StopSignals() as stop, server:
        # The same name may be meant for several registries; here it is one.
        lines = {
            f"{server.address}/{repository_path(reference)}:{reference.tag}"
            f" {descriptor.image.digest}": None
            for descriptor, references in images
            for reference in references
        }
        print("\n".join(lines), flush=True)
        stop.wait()


def _load(options: argparse.Namespace) -> None:
    print(_load_image(options)[1])


def _load_image(options: argparse.Namespace) -> tuple[Any, str]:
    from nixoci.descriptor import Descriptor
    from nixoci.engine.client import find_engine
    from nixoci.engine.load import load_image
    from nixoci.reference import Reference

    descriptor = Descriptor.from_json(_read(options.descriptor))
    references = [Reference.parse(text) for text in options.references]
    engine = find_engine(options.engine, os.environ)
    identifier = load_image(
        engine,
        descriptor,
        _layer_source(options).write_layer,
        references=references,
        log=_log_to_stderr(options),
    )
    return engine, identifier


def _run(options: argparse.Namespace) -> int:
    from nixoci.engine.run import RunOptions, run_container

    run_options = RunOptions(
        arguments=tuple(options.arguments),
        environment_names=tuple(options.environment_names),
        ports=tuple(options.ports),
        engine_options=tuple(options.engine_options),
        stop_timeout=options.stop_timeout,
    )
    engine, identifier = _load_image(options)
    return run_container(engine, identifier, run_options)


def _log_to_stderr(options: argparse.Namespace) -> Any:
    if not options.log_requests:
        return lambda line: None
    return lambda line: print(f"nixoci: {line}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
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

    command = add("evaluate", _evaluate, "Evaluate Nix sources to a derivation, as JSON.")
    add_source(command, required=True)
    add_output(command)

    command = add("realise", _realise, "Make the outputs of a derivation valid in the store.")
    add_source(command, required=False)
    command.add_argument("--derivation", required=True, help="JSON file made by `evaluate`")
    command.add_argument("--log", help="file that gets the build log, while it is written")
    command.add_argument("outputs", nargs="*", help="names of outputs (default: the default one)")

    command = add("closure", _closure, "Print the closure graph of store paths, as JSON.")
    command.add_argument("paths", nargs="+", help="valid store paths")
    add_output(command)

    command = add("database", _database, "Make the Nix database of a closed set of store paths.")
    command.add_argument("graph", help="JSON file made by `closure` (- for standard input)")
    command.add_argument("--output", required=True, help="the SQLite file to make")

    command = add("split", _split, "Split the paths of a closure graph over layers.")
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

    command = add("digest", _digest, "Digest the layer that a recipe makes.")
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

    command = add("read-file", _read_file, "Print the contents of a store path that is a file.")
    command.add_argument("path", help="valid store path")
    add_output(command)

    command = add("tools", _tools, "Find Nix, and write down for later steps where it is.")
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

    command = add("write", _write_image, "Write an image, streamed from the store, to a file.")
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

    command = add("verify", _verify, "Check that what the store has of an image is what made it.")
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_kept_layers(command)

    def add_registries(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--registries", metavar="FILE", help="JSON file with settings of registries"
        )

    command = add(
        "previous",
        _previous,
        "Print the store paths of each layer of a published image, as JSON, for the field `previous` "
        "of a target.",
    )
    command.add_argument(
        "reference", help="repository:tag of an image with annotations of its layers"
    )
    add_registries(command)
    add_output(command)

    command = add("push", _push, "Push an image, streamed from the store, to registries.")
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

    command = add("serve", _serve, "Serve images, streamed from the store, as a registry does.")
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

    command = add("load", _load, "Load an image, streamed from the store, into podman or docker.")
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_origins(command)
    add_engine(command)
    add_log_requests(command)

    command = add("run", _run, "Load an image into podman or docker and run it.")
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


def _nix(options: argparse.Namespace) -> Any:
    from nixoci.nix import Nix

    if options.tools is None:
        return Nix.find(os.environ)
    from nixoci.tools import read_tools

    return read_tools(options.tools)


def _registries(options: argparse.Namespace) -> Any:
    from nixoci.registry.settings import Registries

    if options.registries is None:
        return Registries()
    return Registries.from_json(_read(options.registries))


def _find_compressors(options: argparse.Namespace) -> None:
    """Makes the compressors of the sandbox importable; elsewhere they are, or are not, anyway."""
    if options.tools is not None:
        from nixoci.tools import read_compressors

        sys.path.extend(read_compressors(options.tools))


def _layer_source(options: argparse.Namespace) -> Any:
    from nixoci.layer_source import LayerSource, origins_from_json

    _find_compressors(options)
    origins: Any = ()
    if options.origins is not None:
        directory = os.path.dirname(os.path.abspath(options.origins))
        origins = origins_from_json(_read(options.origins), directory)
    return LayerSource(lambda: _nix(options), origins, options.kept_layers)


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NixOciError(f"Cannot read {path}: {error.strerror}.") from None


def _write(path: str, data: bytes) -> None:
    if path == "-":
        sys.stdout.buffer.write(data + b"\n")
        return
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise NixOciError(f"Cannot write {path}: {error.strerror}.") from None
