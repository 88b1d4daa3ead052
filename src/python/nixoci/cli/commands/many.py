"""Commands that do for many packages at once what those in `sources` do for one.

What a cached process of each package takes goes into a directory of answers; what concerns this call alone,
such as what has failed, is printed.
"""

from __future__ import annotations

import os

from nixoci.cli.commands.files import read_input, write_output
from nixoci.cli.commands.options import add_output, add_source, attribute_of, find_nix

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Mapping

    from nixoci.errors import NixOciError


def evaluate_many_options(command: argparse.ArgumentParser) -> None:
    add_source(command, required=True)
    _add_request(command, "the key of the answer for each attribute path")
    _add_answers(command)
    add_output(command)


def evaluate_many(options: argparse.Namespace) -> None:
    """Leaves derivations as answers; writes the errors of the others, by key."""
    from nixoci.batch.answers import remove_old_answers, write_answer
    from nixoci.batch.evaluate_many import evaluate_many
    from nixoci.json_input import get_field, parse_object
    from nixoci.store.evaluate import Derivation

    keys = parse_object("request", read_input(options.request))
    found = evaluate_many(find_nix(options), attribute_of(options), list(keys))
    directory = _answers(options)
    failures = {}
    for attr, value in found.items():
        key = get_field(keys, attr, str)
        if isinstance(value, Derivation):
            write_answer(directory, key, value.to_json())
        else:
            failures[key] = value
    remove_old_answers(directory)
    _write_failures(options, failures)


def closures_options(command: argparse.ArgumentParser) -> None:
    _add_request(command, "the store paths of a closure for each key of an answer")
    _add_answers(command)
    add_output(command)


def closures(options: argparse.Namespace) -> None:
    """Leaves closures as answers; writes the paths that are not valid, by key."""
    from nixoci.batch.answers import write_answer
    from nixoci.json_input import get_list, parse_object
    from nixoci.json_output import canonical_json
    from nixoci.store.path import StorePath

    request = parse_object("request", read_input(options.request))
    roots = {key: [StorePath.parse(p) for p in get_list(request, key, str)] for key in request}
    nix = find_nix(options)
    missing = set(nix.invalid([path for paths in roots.values() for path in paths]))
    valid = {key: paths for key, paths in roots.items() if missing.isdisjoint(paths)}
    if valid:
        graph = nix.closure([path for paths in valid.values() for path in paths])
        for key, paths in valid.items():
            write_answer(_answers(options), key, graph.closure(paths).to_json())
    invalid = {key: sorted(missing.intersection(roots[key])) for key in roots.keys() - valid.keys()}
    write_output(options.output, canonical_json("invalid paths", invalid))


def realise_many_options(command: argparse.ArgumentParser) -> None:
    _add_request(
        command,
        "`packages`, each with the fields `key`, `derivation` (made by `evaluate`), `outputs`, and, if there "
        "are sources, `evaluation`, of which the fields are as the options of `evaluate`",
    )
    command.add_argument("--log", help="file that gets the build log, while it is written")
    add_output(command)


def realise_many(options: argparse.Namespace) -> None:
    """Makes packages valid; writes the errors of those that cannot be, by key."""
    from nixoci.batch.realise_many import Wanted, realise_many
    from nixoci.json_input import get_field, get_list, parse_object
    from nixoci.store.evaluate import Attribute, Derivation

    request = parse_object("request", read_input(options.request))
    packages = {}
    for document in get_list(request, "packages", dict):
        evaluation = get_field(document, "evaluation", dict, default=None)
        packages[get_field(document, "key", str)] = Wanted(
            Derivation.from_json(
                get_field(document, "derivation", str).encode(errors="surrogatepass")
            ),
            tuple(get_list(document, "outputs", str)),
            None if evaluation is None else Attribute.from_document(evaluation, ""),
        )
    errors = realise_many(find_nix(options), tuple(packages.values()), options.log)
    _write_failures(
        options, {key: error for key, error in zip(packages, errors) if error is not None}
    )


def _write_failures(options: argparse.Namespace, failures: Mapping[str, NixOciError]) -> None:
    from nixoci.json_output import canonical_json

    documents: Any = {key: error.to_document() for key, error in failures.items()}
    write_output(options.output, canonical_json("failures", documents))


def _add_request(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("request", help=f"JSON file that has {what}")


def _add_answers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--answers",
        metavar="DIRECTORY",
        help="directory that gets the answers, each in a file named by its key (default: `answers` "
        "beside the file of --tools)",
    )


def _answers(options: argparse.Namespace) -> str:
    from nixoci.batch.answers import ANSWERS
    from nixoci.errors import NixOciError

    if options.answers is not None:
        return str(options.answers)
    if options.tools is None:
        raise NixOciError("Say where answers go: --answers DIRECTORY.")
    return os.path.join(os.path.dirname(options.tools), ANSWERS)


COMMANDS = {
    "evaluate-many": (evaluate_many_options, evaluate_many),
    "realise-many": (realise_many_options, realise_many),
    "closures": (closures_options, closures),
}
