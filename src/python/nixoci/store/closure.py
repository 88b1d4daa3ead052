"""Closure graphs: what Nix says of store paths, and what is taken away before they become layers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, get_list, parse_json, parse_object
from nixoci.store.hashes import parse_sha256, to_nix_base32, to_sri
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AbstractSet, Any, Iterable, Iterator, Optional


class NotClosedError(NixOciError):
    """A path of the image references one that is not in it.

    :param chain: store paths, each referencing the next; the last one is the missing one. It is
        alone if it was asked for itself.
    """

    def __init__(self, chain: tuple[StorePath, ...]) -> None:
        self.chain = chain
        self.missing = chain[-1]
        why = "it is referenced:" if len(chain) > 1 else "it is asked for itself."
        arrows = "  " + "\n  -> ".join(chain) if len(chain) > 1 else ""
        super().__init__(f"{self.missing} is left out, but {why}", arrows)


class ContradictionError(NixOciError):
    """Two sources disagree about one store path (contents or references)."""

    def __init__(self, one: PathInfo, other: PathInfo) -> None:
        self.path = one.path
        self.one = one
        self.other = other
        super().__init__(
            f"{one.path} is described in two ways: NAR hash {one.nar_hash} and {other.nar_hash}, "
            f"{len(one.references)} and {len(other.references)} references. It was built twice with "
            "different results; delete it from the store that has the wrong one and build again."
        )


@dataclass(frozen=True)
class PathInfo:
    """What Nix knows of one valid store path.

    :param nar_hash: SRI form.
    :param nar_size: bytes.
    :param references: sorted; the path itself is among them if its contents mention it.
    :param ca: the content address, for paths that are addressed by their contents.
    :param signatures: `name:base64`, sorted.
    """

    path: StorePath
    nar_hash: str
    nar_size: int
    references: tuple[StorePath, ...]
    ca: Optional[str] = None
    signatures: tuple[str, ...] = ()


class ClosureGraph(Mapping[StorePath, PathInfo]):
    """An immutable set of path infos in the order of their paths. Compare and hash by content."""

    def __init__(self, infos: Iterable[PathInfo] = ()) -> None:
        """Infos of one path become one that has the signatures of all of them.

        :raises ContradictionError: they differ in what the contents of the path are.
        """
        by_path: dict[StorePath, PathInfo] = {}
        for info in infos:
            known = by_path.setdefault(info.path, info)
            if known != info:
                by_path[info.path] = _merge(known, info)
        self._infos = {path: by_path[path] for path in sorted(by_path)}
        self._hash = hash(tuple(self._infos.values()))

    def __getitem__(self, path: StorePath) -> PathInfo:
        return self._infos[path]

    def __contains__(self, path: object) -> bool:
        return path in self._infos

    def __iter__(self) -> Iterator[StorePath]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ClosureGraph)
            and self._hash == other._hash
            and self._infos == other._infos
        )

    def __repr__(self) -> str:
        return f"ClosureGraph({len(self)} paths)"

    def union(self, *others: ClosureGraph) -> ClosureGraph:
        """:raises ContradictionError: as the constructor."""
        return ClosureGraph(info for graph in (self, *others) for info in graph.values())

    def closure(self, roots: Iterable[StorePath]) -> ClosureGraph:
        """Returns the part of this graph that `roots` reach.

        :raises NotClosedError: a reference leads out of this graph.
        """
        return ClosureGraph(self[path] for path in _reach(self, roots))

    def without(self, paths: AbstractSet[StorePath]) -> ClosureGraph:
        """Returns this graph less `paths`; it may then no longer be closed."""
        return ClosureGraph(info for path, info in self.items() if path not in paths)

    def unsigned(self) -> ClosureGraph:
        """Returns this graph less the signatures, which differ between machines."""
        return ClosureGraph(replace(info, signatures=()) for info in self.values())

    def chain_to(self, target: StorePath) -> tuple[StorePath, ...]:
        """Returns a shortest chain of references to `target`, from a path that no other references."""
        return _chain(self, self._roots(), target)

    def _roots(self) -> list[StorePath]:
        referenced = {r for i in self.values() for r in i.references if r != i.path}
        return [path for path in self if path not in referenced]

    def referrers_first(self) -> tuple[StorePath, ...]:
        """Returns the paths so that each comes before all that it references, ties by path.

        :raises InvalidInputError: references form a cycle (Nix never registers one).
        """
        waiting = {path: 0 for path in self}
        for info in self.values():
            for reference in info.references:
                if reference in waiting and reference != info.path:
                    waiting[reference] += 1
        # In the order of their paths, so it is a heap already.
        ready = [path for path, count in waiting.items() if not count]
        order = []
        while ready:
            path = heappop(ready)
            order.append(path)
            for reference in self[path].references:
                if reference in waiting and reference != path:
                    waiting[reference] -= 1
                    if not waiting[reference]:
                        heappush(ready, reference)
        if len(order) != len(self):
            cycle = sorted(path for path, count in waiting.items() if count)
            raise InvalidInputError("closure graph", cycle[0], "its references form a cycle")
        return tuple(order)

    def to_json(self) -> bytes:
        """The one JSON form of this graph: paths sorted, no spaces, absent facts left out."""
        document: dict[str, Any] = {}
        for path, info in self.items():
            entry: dict[str, Any] = {
                "narHash": info.nar_hash,
                "narSize": info.nar_size,
                "references": list(info.references),
            }
            if info.ca is not None:
                entry["ca"] = info.ca
            if info.signatures:
                entry["signatures"] = list(info.signatures)
            document[path] = entry
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> ClosureGraph:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("closure graph", data)
        paths = _Paths()
        return cls(
            _path_info(StorePath.parse(path), entry, paths) for path, entry in document.items()
        )


class InvalidPathError(NixOciError):
    """Store paths that are not valid in this store."""

    def __init__(self, paths: Iterable[StorePath]) -> None:
        self.paths = tuple(sorted(paths))
        super().__init__(f"Not valid in this Nix store: {', '.join(self.paths)}.")


def parse_nix_path_info(data: bytes) -> ClosureGraph:
    """Parses the output of `nix path-info --json`, of every Nix from 2.8 on.

    Three shapes are known: a list of objects with a `path`; a map keyed by path; and, since 2.33 with
    `--json-format 2`, that map under `info`, keyed by base names.

    :raises InvalidPathError: Nix reports a path as not valid.
    :raises InvalidInputError: another shape.
    """
    document = parse_json("output of nix path-info", data)
    if isinstance(document, dict) and isinstance(document.get("info"), dict):
        document = document["info"]
    paths = _Paths()
    if isinstance(document, list):
        if not all(isinstance(item, dict) for item in document):
            raise InvalidInputError("output of nix path-info", data[:200], "expected objects")
        items = [(StorePath.parse(item.get("path")), item) for item in document]
    elif isinstance(document, dict):
        items = [(paths[path], item) for path, item in document.items()]
    else:
        raise InvalidInputError("output of nix path-info", data[:200], "expected a list or a map")
    invalid = [
        path
        for path, item in items
        if item is None or (isinstance(item, dict) and item.get("valid") is False)
    ]
    if invalid:
        raise InvalidPathError(invalid)
    return ClosureGraph(_path_info(path, item, paths) for path, item in items)


class _Paths(dict[str, StorePath]):
    """The store paths of a document by their text: each is parsed once, however many others reference it."""

    def __missing__(self, text: str) -> StorePath:
        parse = StorePath.parse if text.startswith("/") else StorePath.parse_base_name
        path = self[text] = parse(text)
        return path


def _path_info(path: StorePath, item: object, paths: _Paths) -> PathInfo:
    if not isinstance(item, dict):
        raise InvalidInputError("path info", item, "expected an object")
    nar_size = get_field(item, "narSize", int)
    if nar_size < 0:
        raise InvalidInputError("narSize", nar_size, "it is negative")
    return PathInfo(
        path=path,
        nar_hash=to_sri(parse_sha256(item.get("narHash"))),
        nar_size=nar_size,
        references=tuple(sorted({paths[r] for r in get_list(item, "references", str)})),
        ca=_content_address(item.get("ca")),
        signatures=tuple(sorted(set(get_list(item, "signatures", str, default=[])))),
    )


def _content_address(value: object) -> Optional[str]:
    """Returns a content address in the text form that the Nix database has."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise InvalidInputError("content address", value, "expected a string or an object")
    methods = {"flat": "fixed:", "nar": "fixed:r:", "text": "text:", "git": "fixed:git:"}
    method = get_field(value, "method", str)
    if method not in methods:
        raise InvalidInputError("content address method", method, f"expected one of {list(methods)}")
    return f"{methods[method]}sha256:{to_nix_base32(parse_sha256(value.get('hash')))}"


def _merge(one: PathInfo, other: PathInfo) -> PathInfo:
    """Returns what both say of one path; the same in either order.

    Who substituted a path has signatures, and who built it has none.
    """
    if (one.nar_hash, one.nar_size, one.references) != (
        other.nar_hash,
        other.nar_size,
        other.references,
    ) or (one.ca and other.ca and one.ca != other.ca):
        raise ContradictionError(one, other)
    signatures = tuple(sorted({*one.signatures, *other.signatures}))
    return replace(one, ca=one.ca or other.ca, signatures=signatures)


def _reach(graph: Mapping[StorePath, PathInfo], roots: Iterable[StorePath]) -> set[StorePath]:
    roots = tuple(roots)
    found: set[StorePath] = set()
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        if path not in graph:
            raise NotClosedError(_chain(graph, roots, path))
        found.add(path)
        waiting.extend(graph[path].references)
    return found


def _chain(
    graph: Mapping[StorePath, PathInfo], roots: Iterable[StorePath], target: StorePath
) -> tuple[StorePath, ...]:
    """Returns a shortest chain of references from one of `roots` to `target`, which they reach."""
    came_from: dict[StorePath, Optional[StorePath]] = dict.fromkeys(sorted(roots))
    waiting = deque(came_from)
    while waiting:
        path = waiting.popleft()
        for reference in graph[path].references if path in graph else ():
            if reference not in came_from:
                came_from[reference] = path
                waiting.append(reference)
    chain = [target]
    while (previous := came_from.get(chain[-1])) is not None:
        chain.append(previous)
    return tuple(reversed(chain))
