"""What the commands of the command line do; each takes the options that `nixoci.cli.parser` parsed.

Commands import what they need when they run: a digest must not wait for what a build needs.
"""

from __future__ import annotations

import os
import sys

from nixoci.errors import InvalidInputError, NixOciError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def evaluate(options: argparse.Namespace) -> None:
    _write(options.output, _evaluate_sources(options).to_json())


def _evaluate_sources(options: argparse.Namespace) -> Any:
    from nixoci.store.evaluate import evaluate

    return evaluate(
        _nix(options),
        root=options.root,
        source=options.source,
        attr=options.attr,
        system=options.system,
        features=options.features,
    )


def realise(options: argparse.Namespace) -> None:
    from nixoci.store.evaluate import Derivation
    from nixoci.store.realise import realise

    derivation = Derivation.from_json(_read(options.derivation))
    outputs = options.outputs or [derivation.default_output]
    again = (lambda: _evaluate_sources(options)) if options.source else None
    for path in realise(_nix(options), derivation, outputs, again, options.log):
        print(path)


def closure(options: argparse.Namespace) -> None:
    from nixoci.store.path import StorePath

    roots = [StorePath.parse(path) for path in options.paths]
    _write(options.output, _nix(options).closure(roots).to_json())


def database(options: argparse.Namespace) -> None:
    from nixoci.database.nix_database import write_database
    from nixoci.store.closure import ClosureGraph
    from nixoci.store.registration import registrations_of

    graph = ClosureGraph.from_json(_read(options.graph))
    write_database(registrations_of(graph), os.path.abspath(options.output))


def split(options: argparse.Namespace) -> None:
    from nixoci.layering.document import split_document

    _write(options.output, split_document(_read(options.request), options.strategy))


def digest(options: argparse.Namespace) -> None:
    from nixoci.layer.digest import digest_layer
    from nixoci.recipe.layer import LayerRecipe
    from nixoci.recipe.recipe import parse_recipe

    recipe = parse_recipe(_read(options.recipe))
    compression = _compression(options)
    # The layer of a database is made of nothing that is in a store, and needs no Nix.
    if not isinstance(recipe, LayerRecipe):
        _write(options.output, digest_layer(recipe, compression=compression).to_json())
        return
    if options.kept_layers is not None:
        from nixoci.layer.kept import digest_kept_layer

        layer = digest_kept_layer(options.kept_layers, recipe, compression)
        _write(options.output, layer.to_json())
        return
    from nixoci.layer.reproducibility import require_recorded_contents

    nix = _nix(options)
    require_recorded_contents(nix, recipe)
    if options.keep is None:
        from nixoci.processes.processors import has_idle_processor

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
        from nixoci.layer.kept import keep_layer

        layer = keep_layer(recipe, options.keep, store_root=nix.store_root)
    _write(options.output, layer.to_json())


def _compression(options: argparse.Namespace) -> Any:
    from nixoci.compression.formats import NONE, Compression

    if options.compression == NONE:
        return None
    _find_compressors(options)
    return Compression.create(options.compression, options.compression_level, options.compressor)


def tools(options: argparse.Namespace) -> None:
    from nixoci.store.tools import write_tools

    settings = []
    for text in options.settings:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InvalidInputError("setting", text, "expected NAME=VALUE")
        settings.append((name, value))
    write_tools(options.directory, os.environ, options.environment_names, settings)
    if options.compressor_python is not None:
        from nixoci.store.tools import write_compressors

        write_compressors(
            options.directory, options.compressor_python, options.compressor_directories
        )


def read_file(options: argparse.Namespace) -> None:
    from nixoci.store.path import StorePath

    nix = _nix(options)
    path = StorePath.parse(options.path)
    nix.require_valid([path])
    _write(options.output, _read(nix.store_root + path))


def write_image(options: argparse.Namespace) -> None:
    from nixoci.atomic import output_errors
    from nixoci.image.archive import write_docker_archive, write_oci_archive
    from nixoci.image.descriptor import Descriptor
    from nixoci.image.layout import write_oci_layout
    from nixoci.image.reference import Reference

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


def verify(options: argparse.Namespace) -> None:
    from nixoci.image.descriptor import Descriptor
    from nixoci.layer.kept import is_kept
    from nixoci.layer.reproducibility import require_no_other_contents
    from nixoci.recipe.layer import LayerRecipe

    recipes = Descriptor.from_json(_read(options.descriptor)).recipes
    require_no_other_contents(
        _nix(options),
        [
            recipe
            for recipe in recipes
            if isinstance(recipe, LayerRecipe) and not is_kept(options.kept_layers, recipe)
        ],
    )


def previous(options: argparse.Namespace) -> None:
    from nixoci.image.reference import Reference
    from nixoci.registry.published_layers import published_layers_json
    from nixoci.registry.pull import fetch_manifest

    reference = Reference.parse(options.reference)
    manifest = fetch_manifest(reference, os.environ, _registries(options))
    document = published_layers_json(reference, manifest)
    # Standard output gets a line end in any case.
    _write(options.output, document.rstrip() if options.output == "-" else document)


def push(options: argparse.Namespace) -> None:
    from nixoci.image.descriptor import Descriptor
    from nixoci.image.reference import Reference
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


def serve(options: argparse.Namespace) -> None:
    from nixoci.image.descriptor import Descriptor
    from nixoci.registry.server.served_images import local_references, repository_path, serve_images
    from nixoci.registry.server.server import ReadOnlyRegistry
    from nixoci.registry.server.stop_signals import StopSignals

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


def load(options: argparse.Namespace) -> None:
    print(_load_image(options)[1])


def _load_image(options: argparse.Namespace) -> tuple[Any, str]:
    from nixoci.engine.client import find_engine
    from nixoci.engine.load import load_image
    from nixoci.image.descriptor import Descriptor
    from nixoci.image.reference import Reference

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


def run(options: argparse.Namespace) -> int:
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


def _nix(options: argparse.Namespace) -> Any:
    from nixoci.store.nix import Nix

    if options.tools is None:
        return Nix.find(os.environ)
    from nixoci.store.tools import read_tools

    return read_tools(options.tools)


def _registries(options: argparse.Namespace) -> Any:
    from nixoci.registry.settings import Registries

    if options.registries is None:
        return Registries()
    return Registries.from_json(_read(options.registries))


def _find_compressors(options: argparse.Namespace) -> None:
    """Makes the compressors of the sandbox importable; elsewhere they are, or are not, anyway."""
    if options.tools is not None:
        from nixoci.store.tools import read_compressors

        sys.path.extend(read_compressors(options.tools))


def _layer_source(options: argparse.Namespace) -> Any:
    from nixoci.layer.source import LayerSource, origins_from_json

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
