"""Updates of a monorepo of images: one path changes, and with it all that depends on it."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Iterator, Mapping

from nixoci.store.closure import ClosureGraph, PathInfo
from nixoci.store.path import StorePath

_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


def updates(graph: ClosureGraph, count: int, seed: int) -> Iterator[tuple[ClosureGraph, ...]]:
    """Yields the closures of all roots of `graph`, and what they are after each of `count` updates.

    Every second update is one of a root, the application; the others are of any path. What is built
    again gets another hash and slightly another size.
    """
    chance = random.Random(seed)
    roots = _roots(graph)
    everything = list(graph)
    version = dict.fromkeys(graph, 0)
    size = {path: info.nar_size for path, info in graph.items()}
    bottom_first = tuple(reversed(graph.referrers_first()))
    for number in range(count + 1):
        if number:
            changed = {chance.choice(roots if number % 2 else everything)}
            version[min(changed)] += 1
            for path in bottom_first:
                if path in changed or not changed.isdisjoint(graph[path].references):
                    changed.add(path)
                    size[path] = max(200, int(size[path] * chance.uniform(0.996, 1.006)))
        built = _build(graph, bottom_first, version, size)
        revision = ClosureGraph(built.values())
        yield tuple(revision.closure([built[root].path]) for root in roots)


def _roots(graph: ClosureGraph) -> list[StorePath]:
    referenced = {r for path, info in graph.items() for r in info.references if r != path}
    return [path for path in graph if path not in referenced]


def _build(
    graph: ClosureGraph,
    bottom_first: tuple[StorePath, ...],
    version: Mapping[StorePath, int],
    size: Mapping[StorePath, int],
) -> dict[StorePath, PathInfo]:
    """Returns for each path what it is now, under the name that it had."""
    built: dict[StorePath, PathInfo] = {}
    for path in bottom_first:
        references = [built[r].path for r in graph[path].references if r != path]
        facts = "|".join([path, str(version[path]), *references])
        digits = "".join(_DIGITS[byte & 31] for byte in hashlib.sha256(facts.encode()).digest())
        new = StorePath.parse(f"/nix/store/{digits}-{path.name}")
        built[path] = replace(
            graph[path], path=new, nar_size=size[path], references=tuple(sorted(references))
        )
    return built
