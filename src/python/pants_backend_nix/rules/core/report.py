"""What the core reports of a failure, on standard output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Mapping

from nixoci.json_input import get_field, get_list, parse_object
from pants.engine.process import FallibleProcessResult
from pants.util.frozendict import FrozenDict


def reported_error(result: FallibleProcessResult) -> Mapping[str, Any]:
    """Returns what the core printed of its failure; empty if it did not get that far."""
    try:
        document = json.loads(result.stdout)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return _facts(document)


@dataclass(frozen=True)
class ReportOfMany:
    """What a command of `nixoci.cli.commands.many` wrote.

    :param failures: as `reported_error`, by the keys of those that failed.
    :param missing: keys of those that have an output that is not valid.
    :param answers: those that were left, by their keys, unless there was too much to tell.
    """

    failures: FrozenDict[str, FrozenDict[str, Any]] = FrozenDict()
    missing: frozenset[str] = frozenset()
    answers: FrozenDict[str, bytes] = FrozenDict()

    @classmethod
    def parse(cls, output: bytes) -> ReportOfMany:
        """:raises InvalidInputError: it is no such document."""
        document = parse_object("result", output)
        failures = get_field(document, "failures", dict)
        answers = get_field(document, "answers", dict)
        return cls(
            FrozenDict({key: _facts(get_field(failures, key, dict)) for key in failures}),
            frozenset(get_list(document, "missing", str)),
            FrozenDict({key: get_field(answers, key, str).encode() for key in answers}),
        )


def _facts(document: Mapping[str, Any]) -> FrozenDict[str, Any]:
    """Returns facts of an error so that Pants can compare them."""
    return FrozenDict({k: tuple(v) if isinstance(v, list) else v for k, v in document.items()})
