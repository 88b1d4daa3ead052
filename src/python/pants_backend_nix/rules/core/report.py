"""What the core reports of a failure, on standard output."""

from __future__ import annotations

import json
from typing import Any, Mapping

from nixoci.json_input import get_field, parse_object
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


def reported_failures(output: bytes) -> FrozenDict[str, FrozenDict[str, Any]]:
    """Returns what the core reports of those that failed, of many: as `reported_error`, by their keys.

    :param output: what a command of `nixoci.cli.commands.many` wrote.
    :raises InvalidInputError: it is no such document.
    """
    document = parse_object("failures", output)
    return FrozenDict({key: _facts(get_field(document, key, dict)) for key in document})


def _facts(document: Mapping[str, Any]) -> FrozenDict[str, Any]:
    """Returns facts of an error so that Pants can compare them."""
    return FrozenDict({k: tuple(v) if isinstance(v, list) else v for k, v in document.items()})
