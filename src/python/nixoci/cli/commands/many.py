"""Commands that do for many packages at once what those in `sources` do for one.

What a cached process of each package takes goes into a directory of answers; what concerns this call alone,
such as what has failed, is printed.
"""

from __future__ import annotations

import os

from nixoci.cli.commands.files import read_input, shown_in, write_output
from nixoci.cli.commands.options import (
    add_output,
    add_progress,
    add_source,
    attribute_of,
    find_nix,
)

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Iterable, Mapping, Optional

    from nixoci.batch.answers import Answers
    from nixoci.errors import NixOciError


def leave_answer_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("key", help="of the answer")
    command.add_argument("file", help="that has it")
    _add_answers(command)


def leave_answer(options: argparse.Namespace) -> None:
    """Leaves what somebody else has worked out."""
    from nixoci.batch.answers import remove_old_answers

    answers = _answers(options)
    answers.write(options.key, read_input(options.file))
    remove_old_answers(answers.directory)


def evaluate_many_options(command: argparse.ArgumentParser) -> None:
    add_source(command, required=True)
    _add_request(
        command,
        "`attributes`, for each attribute path its `key` and the names of its `outputs` (none for the default "
        "one); and `program`, see `nixoci.batch.answers.answer_key`",
    )
    _add_answers(command)
    add_output(command)


def evaluate_many(options: argparse.Namespace) -> None:
    """Leaves derivations as answers, and closures of outputs that are valid; of outputs that are not, writes the keys
    (`missing`).
    """
    from nixoci.batch.answers import remove_old_answers
    from nixoci.batch.closures import answer_closures_early
    from nixoci.batch.evaluate_many import evaluate_many
    from nixoci.json_input import get_field, get_list, parse_object
    from nixoci.store.evaluate import Derivation

    request = parse_object("request", read_input(options.request))
    attributes = get_field(request, "attributes", dict)
    nix = find_nix(options)
    found = evaluate_many(nix, attribute_of(options), list(attributes))
    answers = _answers(options)
    failures, outputs = {}, {}
    for attr, value in found.items():
        attribute = get_field(attributes, attr, dict)
        key = get_field(attribute, "key", str)
        if isinstance(value, Derivation):
            answers.write(key, value.to_json())
            names = get_list(attribute, "outputs", str) or [value.default_output]
            paths = [path for name, path in value.outputs if name in names]
            if len(paths) == len(names):
                outputs[key] = paths
        else:
            failures[key] = value
    # Whoever is told that one is missing has it built, which does nothing where that was wrong.
    missing = answer_closures_early(
        nix, answers, get_field(request, "program", str), outputs, on_disk=True
    )
    remove_old_answers(answers.directory)
    _write_result(options, answers, failures, missing)


def package_names_options(command: argparse.ArgumentParser) -> None:
    add_source(command, required=True)
    add_output(command)


def package_names(options: argparse.Namespace) -> None:
    """Writes the names of the packages of a Nix file."""
    from nixoci.batch.package_names import package_names
    from nixoci.json_output import canonical_json

    names = package_names(find_nix(options), attribute_of(options))
    write_output(options.output, canonical_json("names", {"names": names}))


def closures_options(command: argparse.ArgumentParser) -> None:
    _add_request(command, "the store paths of a closure for each key of an answer")
    _add_answers(command)
    add_output(command)


def closures(options: argparse.Namespace) -> None:
    """Leaves closures as answers; writes the keys of those with paths that are not valid (`missing`)."""
    from nixoci.batch.closures import answer_closures
    from nixoci.json_input import get_list, parse_object
    from nixoci.store.path import StorePath

    request = parse_object("request", read_input(options.request))
    roots = {key: [StorePath.parse(p) for p in get_list(request, key, str)] for key in request}
    answers = _answers(options)
    missing = answer_closures(find_nix(options), answers, roots)
    _write_result(options, answers, {}, missing)


def realise_many_options(command: argparse.ArgumentParser) -> None:
    _add_request(
        command,
        "`packages`, each with the fields `key`, `derivation` (made by `evaluate`), `outputs`, and, if there "
        "are sources, `evaluation`, of which the fields are as the options of `evaluate`; and, if closures are to "
        "be left as answers, `program`, see `nixoci.batch.answers.answer_key`",
    )
    command.add_argument("--log", help="file that gets the build log, while it is written")
    add_progress(command)
    _add_answers(command)
    add_output(command)


def realise_many(options: argparse.Namespace) -> None:
    """Makes packages valid, and leaves their closures as answers."""
    from nixoci.batch.closures import answer_closures_early
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
    nix = find_nix(options)
    with shown_in(options.progress) as show:
        errors = realise_many(nix, tuple(packages.values()), options.log, show)
    failures = {key: error for key, error in zip(packages, errors) if error is not None}
    program = get_field(request, "program", str, default=None)
    answers = None
    if program is not None:
        answers = _answers(options)
        outputs = {key: p.paths for key, p in packages.items() if key not in failures}
        answer_closures_early(nix, answers, program, outputs)
    _write_result(options, answers, failures)


def _write_result(
    options: argparse.Namespace,
    answers: Optional[Answers],
    failures: Mapping[str, NixOciError],
    missing: Iterable[str] = (),
) -> None:
    """Writes what was not answered and why, and answers, as far as they are told: all by key."""
    from nixoci.json_output import canonical_json

    documents: Any = {key: error.to_document() for key, error in failures.items()}
    told = {} if answers is None else {key: text.decode() for key, text in answers.told.items()}
    result = {"answers": told, "failures": documents, "missing": sorted(missing)}
    write_output(options.output, canonical_json("result", result))


def _add_request(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("request", help=f"JSON file that has {what}")


def _add_answers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--answers",
        metavar="DIRECTORY",
        help="directory that gets the answers, each in a file named by its key (default: `answers` "
        "beside the file of --tools)",
    )


def _answers(options: argparse.Namespace) -> Answers:
    from nixoci.batch.answers import ANSWERS, Answers
    from nixoci.errors import NixOciError

    if options.answers is not None:
        return Answers(options.answers)
    if options.tools is None:
        raise NixOciError("Say where answers go: --answers DIRECTORY.")
    return Answers(os.path.join(os.path.dirname(options.tools), ANSWERS))


COMMANDS = {
    "evaluate-many": (evaluate_many_options, evaluate_many),
    "package-names": (package_names_options, package_names),
    "realise-many": (realise_many_options, realise_many),
    "closures": (closures_options, closures),
    "leave-answer": (leave_answer_options, leave_answer),
}
