"""The JSON that `nixoci split` reads and prints."""

from __future__ import annotations

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json, readable_json
from nixoci.layering.preferences import Preferences
from nixoci.layering.split import Split, split
from nixoci.store.closure import ClosureGraph, PathInfo
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

#: A split does not look at contents, so a graph may come without their hashes.
_NO_HASH = ""


def split_document(data: bytes, strategy: str) -> bytes:
    """Returns `{"layers": [[path…]…]}`, bottom layer first, for a request.

    :param data: an object with `graph`, a list of objects with `path`, `narSize` and `references`;
        `max_layers`; and, each optional, `previous` (lists of paths), `weights` (shell patterns to
        rates; `rates` is the same as a list of pairs), `groups` (lists of shell patterns) and `first_party` (paths).
    :raises InvalidInputError: another document, or as `nixoci.layering.split`.
    """
    document = parse_object("split request", data)
    known = {"graph", "max_layers", "previous", "weights", "rates", "groups", "first_party"}
    if not known.issuperset(document):
        unknown = sorted(set(document) - known)
        raise InvalidInputError("split request", unknown, f"expected no fields but {sorted(known)}")
    graph = _graph(get_list(document, "graph", dict))
    max_layers = get_field(document, "max_layers", int)
    preferences = Preferences(
        rates=_rates(
            [
                *get_list(document, "rates", list, []),
                *get_field(document, "weights", dict, {}).items(),
            ]
        ),
        previous=_layers(document, "previous", []),
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


def split_from_json(data: bytes) -> Split:
    """Parses what `split_to_json` wrote.

    :raises InvalidInputError: not such a document.
    """
    return _layers(parse_object("split", data), "layers")


def split_request_json(graph: ClosureGraph, max_layers: int, preferences: Preferences) -> bytes:
    """Returns the one request that `split_document` takes for these arguments."""
    document: dict[str, Any] = {
        "graph": [
            {"path": path, "narSize": info.nar_size, "references": list(info.references)}
            for path, info in graph.items()
        ],
        "max_layers": max_layers,
        "previous": [list(layer) for layer in preferences.previous],
        # In their order, of which the first that matches counts.
        "rates": [list(pair) for pair in preferences.rates],
        "groups": [list(group) for group in preferences.groups],
        "first_party": sorted(preferences.first_party),
    }
    return canonical_json("split request", document)


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


def _layers(document: Mapping[str, Any], name: str, *default: list[Any]) -> Split:
    return tuple(
        tuple(StorePath.parse(path) for path in layer)
        for layer in get_list(document, name, list, *default)
    )


def _rates(pairs: Sequence[Sequence[Any]]) -> tuple[tuple[str, float], ...]:
    rates = []
    for pair in pairs:
        if len(pair) != 2 or not isinstance(pair[0], str):
            raise InvalidInputError("rate", pair, "expected a pattern and a number")
        pattern, rate = pair
        rates.append((pattern, rate))
    return tuple(rates)
