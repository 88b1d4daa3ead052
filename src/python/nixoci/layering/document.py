"""The JSON that `nixoci split` reads and prints."""

from __future__ import annotations

from typing import Any, Mapping

from nixoci.closure import ClosureGraph, PathInfo
from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import readable_json
from nixoci.layering import Split, split
from nixoci.layering.preferences import Preferences
from nixoci.store_path import StorePath

#: A split does not look at contents, so a graph may come without their hashes.
_NO_HASH = ""


def split_document(data: bytes, strategy: str) -> bytes:
    """Returns `{"layers": [[path…]…]}`, bottom layer first, for a request.

    :param data: an object with `graph`, a list of objects with `path`, `narSize` and `references`;
        `max_layers`; and, each optional, `previous` (lists of paths), `weights` (shell patterns to
        rates), `groups` (lists of shell patterns) and `first_party` (paths).
    :raises InvalidInputError: another document, or as `nixoci.layering.split`.
    """
    document = parse_object("split request", data)
    known = {"graph", "max_layers", "previous", "weights", "groups", "first_party"}
    if not known.issuperset(document):
        unknown = sorted(set(document) - known)
        raise InvalidInputError("split request", unknown, f"expected no fields but {sorted(known)}")
    graph = _graph(get_list(document, "graph", dict))
    max_layers = get_field(document, "max_layers", int)
    preferences = Preferences(
        rates=_rates(get_field(document, "weights", dict, {})),
        previous=tuple(
            tuple(StorePath.parse(path) for path in layer)
            for layer in get_list(document, "previous", list, [])
        ),
        groups=tuple(
            tuple(get_list({"groups": group}, "groups", str))
            for group in get_list(document, "groups", list, [])
        ),
        first_party=frozenset(map(StorePath.parse, get_list(document, "first_party", str, []))),
    )
    return split_to_json(split(graph, max_layers, strategy, preferences))


def split_to_json(layers: Split) -> bytes:
    """The JSON form of a split."""
    return readable_json("split", {"layers": [list(layer) for layer in layers]})


def _graph(entries: list[Mapping[str, Any]]) -> ClosureGraph:
    infos: dict[StorePath, PathInfo] = {}
    for entry in entries:
        path = StorePath.parse(entry.get("path"))
        if path in infos:
            raise InvalidInputError("path", path, "it is in the graph twice")
        size = get_field(entry, "narSize", int)
        if size < 0:
            raise InvalidInputError("narSize", size, "it is negative")
        references = {StorePath.parse(r) for r in get_list(entry, "references", str)}
        infos[path] = PathInfo(path, _NO_HASH, size, tuple(sorted(references)))
    return ClosureGraph(infos.values())


def _rates(weights: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    for pattern, rate in weights.items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            raise InvalidInputError(f"rate of {pattern}", rate, "expected a number")
    return tuple(weights.items())
