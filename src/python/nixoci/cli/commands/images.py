"""Commands for one image, or an index: write, verify, index and previous."""

from __future__ import annotations

import os

from nixoci.cli.commands.files import output_path, read_input, shown_in, write_output
from nixoci.cli.commands.options import (
    add_kept_layers,
    add_origins,
    add_output,
    add_progress,
    add_registries,
    find_nix,
    layer_source,
    registries,
)
from nixoci.errors import InvalidInputError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Callable, Optional


def write_image_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_origins(command)
    add_registries(command)
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
    command.add_argument(
        "--record",
        metavar="FILE",
        help="file to write that tells whether somebody touches the output later on",
    )
    command.add_argument("--record-key", default="", help="what the record calls the output")
    add_progress(command)


def write_image(options: argparse.Namespace) -> None:
    with shown_in(options.progress) as show:
        _write_image(options, show)


def _write_image(options: argparse.Namespace, show: Optional[Callable[..., object]]) -> None:
    from nixoci.atomic import output_errors
    from nixoci.image.archive import write_docker_archive, write_oci_archive
    from nixoci.image.descriptor import Descriptor
    from nixoci.image.index.descriptor import IndexDescriptor, read_descriptor
    from nixoci.image.layout import write_oci_layout
    from nixoci.image.reference import Reference
    from nixoci.image.written import note_written

    descriptor = read_descriptor(read_input(options.descriptor))
    references = [Reference.parse(text) for text in options.references] or descriptor.references
    write_layer = layer_source(options, descriptor.recipes, show=show).write_layer
    is_docker = options.format == "docker-archive"
    if is_docker and isinstance(descriptor, IndexDescriptor):
        raise InvalidInputError(
            "--format",
            options.format,
            "it holds images for one platform; take oci-archive, or the descriptor of one of the images of the index",
        )
    output = output_path(options.output)
    with output_errors(output):
        os.makedirs(os.path.dirname(output), exist_ok=True)
    if isinstance(descriptor, Descriptor) and is_docker:
        inode = write_docker_archive(
            output, descriptor.image, descriptor.recipes, write_layer, references
        )
    else:
        write = write_oci_layout if options.format == "oci-layout" else write_oci_archive
        inode = write(output, descriptor.image, descriptor.recipes, write_layer, references)
    if options.record is not None:
        note_written(options.record, output, options.record_key, inode)


def list_archive_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("archive", help="file to list, named by its SHA-256")
    add_output(command)


def list_archive(options: argparse.Namespace) -> None:
    from nixoci.image.archive_listing import list_archive

    listing = list_archive(options.archive, os.path.basename(options.archive))
    write_output(options.output, listing.to_json())


def verify_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("descriptor", help="file that `pants package` wrote")
    add_kept_layers(command)


def verify(options: argparse.Namespace) -> None:
    from nixoci.image.index.descriptor import read_descriptor
    from nixoci.layer.kept import is_kept
    from nixoci.layer.reproducibility import require_no_other_contents
    from nixoci.recipe.layer import LayerRecipe

    recipes = read_descriptor(read_input(options.descriptor)).recipes
    require_no_other_contents(
        find_nix(options),
        [
            recipe
            for recipe in recipes
            if isinstance(recipe, LayerRecipe) and not is_kept(options.kept_layers, recipe)
        ],
    )


def index_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "descriptors",
        nargs="+",
        metavar="descriptor",
        help="files that `pants package` wrote for images of different platforms",
    )
    command.add_argument(
        "--annotation",
        dest="annotations",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="annotation of the index",
    )
    command.add_argument(
        "--reference",
        dest="references",
        action="append",
        default=[],
        help="name of the index, repository:tag (default: none)",
    )
    add_output(command)


def make_index(options: argparse.Namespace) -> None:
    from nixoci.image.descriptor import Descriptor
    from nixoci.image.index.descriptor import any_descriptor_json
    from nixoci.image.index.image_index import index
    from nixoci.image.reference import Reference

    annotations = {}
    for text in options.annotations:
        key, separator, value = text.partition("=")
        if not separator:
            raise InvalidInputError("annotation", text, "expected KEY=VALUE")
        annotations[key] = value
    by_digest = {
        descriptor.image.digest: descriptor
        for descriptor in (Descriptor.from_json(read_input(path)) for path in options.descriptors)
    }
    found = index([descriptor.image for descriptor in by_digest.values()], annotations)
    recipes = [recipe for image in found.images for recipe in by_digest[image.digest].recipes]
    references = [Reference.parse(text) for text in options.references]
    document = any_descriptor_json(found, recipes, references=references)
    # Standard output gets a line end in any case.
    write_output(options.output, document.rstrip() if options.output == "-" else document)


def previous_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "reference", help="repository:tag of an image with annotations of its layers"
    )
    command.add_argument(
        "--platform",
        metavar="OS/ARCHITECTURE[/VARIANT]",
        help="which image of an index to take",
    )
    add_registries(command)
    add_output(command)


def previous(options: argparse.Namespace) -> None:
    from nixoci.base.published import published_image
    from nixoci.image.index.platforms import parse_platform
    from nixoci.image.reference import Reference
    from nixoci.registry.published_layers import published_layers_json
    from nixoci.registry.pull import fetch_manifest

    reference = Reference.parse(options.reference)
    platform = None if options.platform is None else parse_platform(options.platform)
    manifest = fetch_manifest(
        reference,
        os.environ,
        registries(options),
        choose=lambda found: published_image(reference, found, platform),
    )
    document = published_layers_json(reference, manifest)
    # Standard output gets a line end in any case.
    write_output(options.output, document.rstrip() if options.output == "-" else document)


COMMANDS = {
    "write": (write_image_options, write_image),
    "list-archive": (list_archive_options, list_archive),
    "verify": (verify_options, verify),
    "index": (index_options, make_index),
    "previous": (previous_options, previous),
}
