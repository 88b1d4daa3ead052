"""Commands from Nix sources to layers: evaluate, realise, closure, database and split."""

from __future__ import annotations

import os

from nixoci.cli.commands.files import (
    once_done,
    output_path,
    print_line,
    read_input,
    require_standard_output,
    write_output,
)
from nixoci.cli.commands.options import add_output, add_source, attribute_of, find_nix
from nixoci.errors import InvalidInputError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def evaluate_options(command: argparse.ArgumentParser) -> None:
    add_source(command, required=True)
    add_output(command)


def evaluate(options: argparse.Namespace) -> None:
    write_output(options.output, attribute_of(options).evaluate(find_nix(options)).to_json())


def realise_options(command: argparse.ArgumentParser) -> None:
    add_source(command, required=False)
    command.add_argument("--derivation", required=True, help="JSON file made by `evaluate`")
    command.add_argument("--log", help="file that gets the build log, while it is written")
    command.add_argument("outputs", nargs="*", help="names of outputs (default: the default one)")


def realise(options: argparse.Namespace) -> None:
    from nixoci.store.evaluate import Derivation
    from nixoci.store.realise import realise

    derivation = Derivation.from_json(read_input(options.derivation))
    outputs = options.outputs or [derivation.default_output]
    again = (lambda: attribute_of(options).evaluate(find_nix(options))) if options.source else None
    require_standard_output()
    paths = realise(find_nix(options), derivation, outputs, again, options.log)
    with once_done("The outputs are valid"):
        print_line("\n".join(paths))


def closure_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="+", help="valid store paths")
    add_output(command)


def closure(options: argparse.Namespace) -> None:
    from nixoci.store.path import StorePath

    roots = [StorePath.parse(path) for path in options.paths]
    write_output(options.output, find_nix(options).closure(roots).to_json())


def database_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("graph", help="JSON file made by `closure` (- for standard input)")
    command.add_argument("--output", required=True, help="the SQLite file to make")


def database(options: argparse.Namespace) -> None:
    from nixoci.database.nix_database import write_database
    from nixoci.store.closure import ClosureGraph
    from nixoci.store.registration import registrations_of

    graph = ClosureGraph.from_json(read_input(options.graph))
    write_database(registrations_of(graph), output_path(options.output))


def split_options(command: argparse.ArgumentParser) -> None:
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


def split(options: argparse.Namespace) -> None:
    from nixoci.layering.document import split_document

    write_output(options.output, split_document(read_input(options.request), options.strategy))


def certificates_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="*", help="files with certificates (PEM)")
    command.add_argument(
        "--recipe",
        metavar="FILE",
        help="JSON file of a layer recipe: its store paths are bundles, or have one as cacert of nixpkgs "
        "does; they come before the files",
    )
    command.add_argument("--bundle", required=True, metavar="FILE", help="file to write the bundle to")
    add_output(command)


def bundle(options: argparse.Namespace) -> None:
    from nixoci.json_output import canonical_json
    from nixoci.recipe.certificates import BUNDLES_IN_PACKAGES, bundle_certificates
    from nixoci.sha256 import sha256

    files = []
    if options.recipe is not None:
        from nixoci.layer.reproducibility import require_recorded_hashes
        from nixoci.recipe.layer import LayerRecipe

        recipe = LayerRecipe.from_json(read_input(options.recipe))
        nix = find_nix(options)
        require_recorded_hashes(recipe, dict(zip(recipe.paths, nix.nar_hashes(recipe.paths))))
        for path in recipe.paths:
            for place in BUNDLES_IN_PACKAGES:
                location = nix.location(path + place)
                if os.path.isfile(location):
                    files.append((path + place, read_input(location)))
                    break
            else:
                raise InvalidInputError(
                    "package of certificates", path, f"it has no {BUNDLES_IN_PACKAGES[1][1:]}"
                )
    files += [(path, read_input(path)) for path in options.files]
    content = bundle_certificates(files)
    write_output(options.bundle, content)
    facts = {"sha256": sha256(content).hexdigest(), "size": len(content)}
    write_output(options.output, canonical_json("bundle", facts))


COMMANDS = {
    "evaluate": (evaluate_options, evaluate),
    "realise": (realise_options, realise),
    "closure": (closure_options, closure),
    "database": (database_options, database),
    "split": (split_options, split),
    "certificates": (certificates_options, bundle),
}
