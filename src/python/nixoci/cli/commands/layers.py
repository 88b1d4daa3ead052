"""Commands for what a step of a build needs of one layer: digest, copied-tree, read-file and tools."""

from __future__ import annotations

import os

from nixoci.cli.commands.files import read_input, write_output
from nixoci.cli.commands.options import add_contents, add_output, find_nix, find_packages
from nixoci.errors import InvalidInputError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def digest_options(command: argparse.ArgumentParser) -> None:
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
        metavar="FORMAT",
        help="none, gzip or zstd (default: none)",
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
    add_contents(command)
    add_output(command)


def digest(options: argparse.Namespace) -> None:
    from nixoci.recipe.layer import LayerRecipe
    from nixoci.recipe.recipe import parse_recipe

    recipe = parse_recipe(read_input(options.recipe))
    compression = _compression(options)
    # Databases and files are made of nothing that is in a Nix store.
    if not isinstance(recipe, LayerRecipe):
        from nixoci.layer.digest import digest_layer

        layer = digest_layer(recipe, contents=options.contents, compression=compression)
        write_output(options.output, layer.to_json())
        return
    if options.kept_layers is not None:
        from nixoci.layer.kept import digest_kept_layer

        layer = digest_kept_layer(options.kept_layers, recipe, compression)
        write_output(options.output, layer.to_json())
        return
    from nixoci.layer.reproducibility import recorded_contents

    nix = find_nix(options)
    with recorded_contents(nix, recipe):
        from nixoci.layer.digest import digest_layer
    if options.keep is None:
        from nixoci.processes.processors import has_idle_processor

        layer = digest_layer(
            recipe,
            store_root=nix.store_root,
            has_case_hack=nix.has_case_hack,
            overlap=has_idle_processor(),
            compression=compression,
        )
    elif compression is not None:
        raise InvalidInputError(
            "--keep", options.keep, "keep the layer first, then compress it with --kept-layers"
        )
    else:
        from nixoci.layer.kept import keep_layer

        layer = keep_layer(
            recipe,
            options.keep,
            store_root=nix.store_root,
            has_case_hack=nix.has_case_hack,
        )
    write_output(options.output, layer.to_json())


def _compression(options: argparse.Namespace) -> Any:
    how = (("--compression-level", options.compression_level), ("--compressor", options.compressor))
    if options.compression is not None:
        from nixoci.compression.formats import NONE, Compression

        if options.compression != NONE:
            find_packages(options)
            return Compression.create(options.compression, *(value for _, value in how))
    for name, value in how:
        if value is not None:
            raise InvalidInputError(
                name, value, "it goes with --compression=gzip or --compression=zstd"
            )
    return None


def copied_tree_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", help="JSON file of a layer recipe (- for standard input)")
    command.add_argument(
        "--things",
        metavar="FILE",
        help="say mode and contents of the files and links that this JSON file lists, instead",
    )
    add_output(command)


def list_copied_tree(options: argparse.Namespace) -> None:
    from nixoci.json_input import get_list, parse_object
    from nixoci.layer.copied_tree import (
        copied_tree,
        things_of_tree,
        things_to_json,
        tree_to_json,
    )
    from nixoci.recipe.layer import LayerRecipe

    recipe = LayerRecipe.from_json(read_input(options.recipe))
    nix = find_nix(options)
    nix.require_valid(recipe.paths)
    if options.things is None:
        tree = copied_tree(recipe, nix.store_root, nix.has_case_hack)
        write_output(options.output, tree_to_json(tree))
        return
    document = parse_object("list of things", read_input(options.things))
    things = things_of_tree(
        recipe, get_list(document, "paths", str), nix.store_root, nix.has_case_hack
    )
    write_output(options.output, things_to_json(things))


def idle_permissions_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", help="JSON file of a layer recipe (- for standard input)")
    add_output(command)


def list_idle_permissions(options: argparse.Namespace) -> None:
    from nixoci.json_output import canonical_json
    from nixoci.layer.idle_permissions import idle_permissions
    from nixoci.recipe.layer import LayerRecipe

    recipe = LayerRecipe.from_json(read_input(options.recipe))
    nix = find_nix(options)
    nix.require_valid(recipe.paths)
    idle = idle_permissions(recipe, nix.store_root, nix.has_case_hack)
    write_output(options.output, canonical_json("idle permissions", {"positions": list(idle)}))


def read_file_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", help="valid store path")
    add_output(command)


def read_file(options: argparse.Namespace) -> None:
    from nixoci.store.path import StorePath

    nix = find_nix(options)
    path = StorePath.parse(options.path)
    nix.require_valid([path])
    write_output(options.output, read_input(nix.store_root + path))


def tools_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", help="directory to write to")
    command.add_argument(
        "--environment-name",
        dest="environment_names",
        action="append",
        default=[],
        help="name of one more environment variable that Nix needs",
    )
    command.add_argument(
        "--python-only",
        action="store_true",
        help="write down this Python also if there is no Nix",
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
        "--packages-python",
        metavar="FILE",
        help="interpreter for the steps that compress or read ELF files (default: none)",
    )
    command.add_argument(
        "--packages-directory",
        dest="package_directories",
        action="append",
        default=[],
        metavar="DIRECTORY",
        help="where that interpreter finds the packages that these need",
    )


def tools(options: argparse.Namespace) -> None:
    from nixoci.store.tools import write_tools

    settings = []
    for text in options.settings:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InvalidInputError("setting", text, "expected NAME=VALUE")
        settings.append((name, value))
    write_tools(
        options.directory,
        os.environ,
        options.environment_names,
        settings,
        needs_nix=not options.python_only,
    )
    if options.packages_python is not None:
        from nixoci.store.tools import write_packages

        write_packages(
            options.directory, options.packages_python, options.package_directories
        )


COMMANDS = {
    "digest": (digest_options, digest),
    "copied-tree": (copied_tree_options, list_copied_tree),
    "idle-permissions": (idle_permissions_options, list_idle_permissions),
    "read-file": (read_file_options, read_file),
    "tools": (tools_options, tools),
}
