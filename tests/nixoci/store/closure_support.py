"""Generated closure graphs for the tests of what is computed from them."""

from __future__ import annotations

import hashlib
from typing import Any, Collection, Mapping, Sequence

from hypothesis import strategies as st
from nixoci.layering.contents import Contents, divisible, recipes
from nixoci.layering.split import split
from nixoci.recipe.layer import LayerRecipe
from nixoci.store.closure import ClosureGraph, PathInfo
from nixoci.store.hashes import to_sri
from nixoci.store.path import StorePath

_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


def store_path(name: str) -> StorePath:
    """Returns a valid store path with this name; its digits are made of the name."""
    digest = hashlib.sha256(name.encode()).digest()
    return StorePath.parse("/nix/store/" + "".join(_DIGITS[b & 31] for b in digest) + "-" + name)


def info(name: str, references: Sequence[str] = (), **changes: Any) -> PathInfo:
    """Returns a path info that is made of the name and of the names of its references."""
    facts: dict[str, Any] = {
        "path": store_path(name),
        "nar_hash": to_sri(hashlib.sha256(b"nar of " + name.encode()).digest()),
        "nar_size": 120 + 8 * len(name),
        "references": tuple(sorted(store_path(reference) for reference in references)),
    }
    return PathInfo(**{**facts, **changes})


def graph(references: Mapping[str, str]) -> ClosureGraph:
    """Returns a graph from names to the names that they reference, split at spaces."""
    return ClosureGraph(info(name, words.split()) for name, words in references.items())


def naive_closure(known: Mapping[StorePath, PathInfo], roots: Any) -> set[StorePath]:
    """Returns what `roots` reach, the slow way: adds references until nothing is new."""
    found = set(roots)
    while True:
        larger = found.union(*(known[path].references for path in found))
        if larger == found:
            return found
        found = larger


@st.composite
def closure_graphs(draw: Any, max_size: int = 9) -> ClosureGraph:
    """Closed graphs without cycles other than self references, in no order that means anything."""
    names = [f"p{number}" for number in range(draw(st.integers(0, max_size)))]
    infos = []
    for index, name in enumerate(names):
        # A path may reference those before it, and itself.
        bits = draw(st.integers(0, 2 ** (index + 1) - 1))
        infos.append(info(name, [names[i] for i in range(index + 1) if bits >> i & 1]))
    return ClosureGraph(infos)


def some_of(known: Mapping[StorePath, PathInfo]) -> Any:
    """A strategy of lists of paths of a graph, in any order, each once."""
    if not known:
        return st.just([])
    return st.lists(st.sampled_from(list(known)), unique=True, max_size=len(known))


def split_recipes(
    contents: Contents,
    *,
    max_layers: int,
    apart: Collection[StorePath] = (),
    strategy: str = "popularity",
    **rest: Any,
) -> tuple[LayerRecipe, ...]:
    """Returns the recipes of contents that are split as a strategy does it.

    :param rest: as for `nixoci.layering.contents.recipes`.
    """
    part = divisible(contents, max_layers, apart)
    parts = split(part.graph, part.max_layers, strategy)
    return recipes(contents, parts, max_layers=max_layers, **rest)
