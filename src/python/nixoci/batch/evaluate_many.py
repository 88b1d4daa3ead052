"""Nix sources → derivations: evaluates many attributes of one file, starting Nix as seldom as that can be."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, parse_object
from nixoci.store.evaluate import (
    EVAL,
    Attribute,
    Derivation,
    add_path_inputs,
    checked_arguments,
    evaluator,
    prepare,
    pure_flake,
    pure_value,
    read_derivation,
    surroundings,
    with_system,
)
from nixoci.store.expression import attribute_names, described, described_in
from nixoci.store.locks.names import FLAKE
from nixoci.store.messages.evaluation import UndeclaredSourceError
from nixoci.store.nix import Nix, NixFailedError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, Mapping, Optional, Sequence, Union

    #: What an attribute comes to.
    Evaluated = Union[Derivation, NixOciError]

#: So many attributes are evaluated by one evaluator, which keeps in memory what they need.
_MOST_ATTRIBUTES = 100

#: After so many starts in a row that gave nothing, each attribute is evaluated by itself.
_MOST_IN_VAIN = 2

#: Where `nix build` looks for the packages of a flake, before it looks in all of its outputs.
_FLAKE_PACKAGES = ("packages", "legacyPackages")


def evaluate_many(nix: Nix, file: Attribute, attrs: Sequence[str]) -> Mapping[str, Evaluated]:
    """Evaluates attributes of a Nix file, each to what `evaluate` returns, or to the error that it raises.

    What all have in common is evaluated once. An attribute that fails costs two further starts of Nix, and no
    other attribute fails with it.

    :param file: one of the attributes; which one does not matter.
    """
    attrs = tuple(dict.fromkeys(attrs))
    found: dict[str, Evaluated] = {}
    if len(attrs) > 1:
        try:
            found.update(_together(nix, file, attrs))
        except (InvalidInputError, UndeclaredSourceError):
            # Which of them it is turns out when they are evaluated by themselves.
            pass
    for attr in attrs:
        if attr not in found:
            try:
                found[attr] = replace(file, attr=attr).evaluate(nix)
            except NixOciError as error:
                found[attr] = error
    return found


def _together(
    nix: Nix, file: Attribute, attrs: Sequence[str]
) -> Iterator[tuple[str, Evaluated]]:
    """Yields those attributes that can be evaluated at once, with what they come to."""
    source, system = file.source, file.system
    where = surroundings(nix, system, file.features, file.import_from_derivation)
    arguments = checked_arguments(source, file.arguments)
    root, directory = prepare(file.root, source, "", file.root_is_copy)
    words = (*EVAL, *where)

    def describe(
        value: Callable[[Sequence[str], str], Sequence[str]], attrs: Sequence[str]
    ) -> Iterator[tuple[str, Evaluated]]:
        for attr, description in _described(
            lambda some, mark: _stderr(nix, (*words, *value(some, mark)), directory), attrs
        ):
            try:
                output = json.dumps(description).encode()
                derivation = read_derivation(nix, output, source, attr)
            except NixOciError as error:
                yield attr, error
            else:
                yield attr, with_system(derivation, system)

    with ExitStack() as stack:
        if os.path.basename(source) != FLAKE:
            path = os.path.join(root, source)
            directory = stack.enter_context(pure_flake())
            yield from describe(
                lambda some, mark: pure_value(described(path, some, system, mark, arguments), root), attrs
            )
            return
        add_path_inputs(nix, directory)
        # The default package is not looked for by a path.
        left = [attr for attr in attrs if attribute_names(attr)]
        for output in _FLAKE_PACKAGES:
            known = dict(
                describe(
                    lambda some, mark, output=output: (  # type: ignore[misc]
                        f"path:.#{output}.{system}",
                        "--apply",
                        described_in(some, mark),
                    ),
                    left,
                )
            )
            yield from known.items()
            left = [attr for attr in left if attr not in known]
            if len(left) < 2:
                return


def _described(
    run: Callable[[Sequence[str], str], tuple[bool, str]], attrs: Sequence[str]
) -> Iterator[tuple[str, object]]:
    """Yields the attributes that can be described, with what `DESCRIBE` says of them.

    :param run: has Nix describe attributes, with a mark; returns whether that succeeded, and its standard error.
    """
    left, in_vain = list(attrs), 0
    while left and in_vain < _MOST_IN_VAIN:
        some, left = left[:_MOST_ATTRIBUTES], left[_MOST_ATTRIBUTES:]
        # What is evaluated writes to standard error too, and does not know the mark.
        mark = f"nixoci {os.urandom(16).hex()} "
        succeeded, text = run(some, mark)
        described = 0
        for number, value in described_values(text, mark, len(some)):
            described = number + 1
            if value is not None:
                yield some[number], value
        if not succeeded:
            # The next one is the one that fails.
            left = some[described + 1 :] + left
            in_vain = 0 if described else in_vain + 1


def described_values(text: str, mark: str, count: int) -> Iterator[tuple[int, Optional[object]]]:
    """Yields the numbers and descriptions that are in what Nix wrote.

    :param count: how many attributes are described; others have no number.
    :raises InvalidInputError: what has the mark is no description.
    """
    # Nix ends a line in one way, and JSON has what else Python takes for an end.
    for line in text.split("\n"):
        _, is_ours, written = line.partition(f"trace: {mark}")
        if is_ours:
            item = parse_object("description", written.encode())
            number = get_field(item, "number", int)
            if not 0 <= number < count:
                raise InvalidInputError("number", number, f"{count} attributes are described")
            yield number, item.get("value")


def _stderr(nix: Nix, words: Iterable[str], directory: str) -> tuple[bool, str]:
    """Runs Nix; returns whether it succeeded, and what it wrote to standard error."""
    from tempfile import TemporaryFile

    with TemporaryFile() as file:
        try:
            evaluator(nix).command(*words, stderr=file.fileno(), directory=directory)
            succeeded = True
        except NixFailedError:
            succeeded = False
        file.seek(0)
        return succeeded, file.read().decode(errors="replace")
