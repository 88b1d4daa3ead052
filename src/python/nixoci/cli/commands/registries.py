"""Commands that bring images to others, as registries do: push and serve."""

from __future__ import annotations

import os
import sys

from nixoci.cli.commands.files import (
    once_done,
    open_output,
    print_error,
    print_line,
    read_input,
    require_standard_output,
)
from nixoci.cli.commands.options import (
    add_log_requests,
    add_origins,
    add_registries,
    layer_copier,
    layer_source,
    registries,
    request_log,
)

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Optional

    from nixoci.image.index.image_index import AnyImage
    from nixoci.layer.source import LayerSource
    from nixoci.registry.push_result import PushResult
    from nixoci.registry.reading.copies import LayerCopier


def push_options(command: argparse.ArgumentParser) -> None:
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
        "--likely",
        metavar="FILE",
        help="JSON file that says for digests of layers which repositories may have them, as a list each: "
        "the first one of a registry is asked if nothing better is known",
    )
    command.add_argument(
        "--known-blobs",
        metavar="FILE",
        help="file that remembers which repositories got which layers, from one push to the next",
    )
    command.add_argument(
        "--log-blobs",
        action="store_true",
        help="print a line for each layer (default: if nothing was printed for some seconds)",
    )
    command.add_argument(
        "--label", default="", help="what each line that says what was pushed begins with"
    )
    command.add_argument(
        "--batch",
        metavar="FILE",
        help="file of this push, in a directory that has one for each push of a batch: the last one writes the tags "
        "of all, if every image was pushed",
    )
    command.add_argument(
        "--jobs",
        type=int,
        default=4,
        help="layers to upload at the same time (default: 4). Of layers below 8 MiB up to four times as many are, unless it "
        "is 1",
    )
    command.add_argument(
        "--result", metavar="FILE", help="JSON file to write that says what was pushed"
    )


def push(options: argparse.Namespace) -> None:
    if options.batch is None:
        _push(options)
        return
    from nixoci.errors import NixOciError
    from nixoci.registry.batch.members import (
        FAILED,
        PUSHED,
        WAITING,
        Member,
        labels,
        read_members,
        remove_batch,
        write_member,
    )
    from nixoci.registry.batch.tags import NotAllPushedError, write_tags
    from nixoci.registry.push_result import PENDING

    directory = os.path.dirname(os.path.abspath(options.batch))
    write_member(options.batch, Member(options.label, FAILED))
    try:
        result, image = _push(options)
    except NixOciError:
        members = read_members(directory)
        if not labels(members, WAITING):
            remove_batch(directory)
            print_error(f"nixoci: {NotAllPushedError(labels(members, FAILED))}")
        raise
    tags = tuple(tag.reference for tag in result.tags if tag.outcome == PENDING)
    facts = (image.digest, image.manifests[-1].content.decode(), image.media_type, tags)
    write_member(options.batch, Member(options.label, PUSHED, *facts))
    members = read_members(directory)
    if not labels(members, WAITING):
        remove_batch(directory)
        write_tags(members, os.environ, registries(options), print_line)


def _push(options: argparse.Namespace) -> tuple[PushResult, AnyImage]:
    from contextlib import ExitStack

    from nixoci.image.index.descriptor import read_descriptor
    from nixoci.image.reference import Reference
    from nixoci.recipe.blob import BlobRecipe
    from nixoci.registry.blob_homes import BlobHomes, read_blob_homes, write_blob_homes
    from nixoci.registry.progress import progress_for
    from nixoci.registry.push import PushOptions, push
    from nixoci.registry.push_blobs import MountHints

    descriptor = read_descriptor(read_input(options.descriptor))
    known = BlobHomes() if options.known_blobs is None else read_blob_homes(options.known_blobs)
    hints = MountHints(
        # What is copied from another repository of the same registry is mounted.
        tuple(dict.fromkeys((*options.mount_from, *options.copy_from))),
        known,
        _likely(options.likely),
        {r.digest: r.repositories for r in descriptor.recipes if isinstance(r, BlobRecipe)},
    )
    opened: list[tuple[LayerSource, LayerCopier]] = []
    progress = progress_for(sys.stderr, options.log_blobs)

    def prepare() -> None:
        if not opened:
            copier = layer_copier(options)
            source = layer_source(options, descriptor.recipes, copier, progress.working)
            opened.append((source, copier))

    def abort() -> None:
        for _, copier in opened:
            copier.abort()

    # Most pushes find everything there, and what streams layers takes as long to be imported as all the rest. What
    # users give by name is looked at all the same.
    if options.origins is not None or options.copy_from:
        prepare()
    require_standard_output()
    with ExitStack() as stack:
        write = stack.enter_context(open_output(options.result)) if options.result is not None else None
        result = push(
            descriptor.image,
            descriptor.recipes,
            [Reference.parse(text) for text in options.references] or descriptor.references,
            lambda recipe, layer, write: opened[0][0].write_layer(recipe, layer, write),
            os.environ,
            PushOptions(
                registries(options),
                hints,
                options.jobs,
                writes_tags=options.batch is None,
                prepare=prepare,
                abort=abort,
            ),
            progress,
        )
        if options.known_blobs is not None:
            write_blob_homes(options.known_blobs, result.homes)
        tags = "were" if options.batch is None else "are not yet"
        with once_done(f"The image was pushed, and its tags {tags} written"):
            try:
                if write is not None:
                    write(result.to_json())
                    stack.close()
            finally:
                if options.result != "-":
                    print_line(result.summary(options.label))
    return result, descriptor.image


def _likely(path: Optional[str]) -> dict[str, list[str]]:
    if path is None:
        return {}
    from nixoci.json_input import get_list, parse_object

    document = parse_object("likely repositories", read_input(path))
    return {digest: get_list(document, digest, str) for digest in document}


def serve_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "descriptors", nargs="+", metavar="descriptor", help="file that `pants package` wrote"
    )
    add_origins(command)
    add_registries(command)
    command.add_argument(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="where to listen, port 0 for a free one (default: %(default)s). Whoever can connect "
        "may read the images",
    )
    add_log_requests(command)


def serve(options: argparse.Namespace) -> None:
    from nixoci.image.index.descriptor import read_descriptor
    from nixoci.registry.server.served_images import local_references, repository_path, serve_images
    from nixoci.registry.server.server import ReadOnlyRegistry
    from nixoci.registry.server.stop_signals import StopSignals

    descriptors = [read_descriptor(read_input(path)) for path in options.descriptors]
    images = [(descriptor, local_references(descriptor)) for descriptor in descriptors]
    recipes = [recipe for descriptor in descriptors for recipe in descriptor.recipes]
    repositories = serve_images(images, layer_source(options, recipes).write_layer)
    server = ReadOnlyRegistry(
        repositories,
        listen=options.listen,
        log=request_log(options),
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
        print_line("\n".join(lines))
        stop.wait()


COMMANDS = {
    "push": (push_options, push),
    "serve": (serve_options, serve),
}
