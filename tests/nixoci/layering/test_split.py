"""Tests of `nixoci.layering.split`."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.layering.split import MAX_LAYERS, STRATEGIES, split
from nixoci.store.closure import ClosureGraph

from tests.nixoci.store.closure_support import closure_graphs, graph, info, some_of, store_path

STRATEGY = pytest.mark.parametrize("strategy", sorted(STRATEGIES))


@st.composite
def partial_graphs(draw: Any) -> ClosureGraph:
    """Graphs with holes: what layers below hold is not in them."""
    known = draw(closure_graphs())
    return known.without(set(draw(some_of(known))))


@STRATEGY
@given(known=partial_graphs(), max_layers=st.integers(1, 12))
def test_every_path_is_in_one_part(strategy: str, known: ClosureGraph, max_layers: int) -> None:
    """The parts are a partition, sorted inside, none is empty, and they are in the budget."""
    parts = split(known, max_layers, strategy)
    assert list(known) == sorted(path for part in parts for path in part)
    assert all(part and list(part) == sorted(part) for part in parts)
    assert len(parts) <= max_layers


@STRATEGY
@given(known=partial_graphs(), max_layers=st.integers(1, 12), order=st.randoms())
def test_the_order_of_the_input_does_not_matter(
    strategy: str, known: ClosureGraph, max_layers: int, order: random.Random
) -> None:
    """The same paths are split in the same way, whatever order they were found in."""
    infos = list(known.values())
    order.shuffle(infos)
    assert split(known, max_layers, strategy) == split(ClosureGraph(infos), max_layers, strategy)


@pytest.mark.parametrize("strategy", ["popularity", "size_first"])
@given(known=closure_graphs())
def test_no_budget_is_left_unused(strategy: str, known: ClosureGraph) -> None:
    """With room for all, every path has a layer of its own; with room for one, it holds all."""
    assert [1] * len(known) == [len(part) for part in split(known, MAX_LAYERS, strategy)]
    assert ((tuple(known),) if known else ()) == split(known, 1, strategy)


def test_the_most_referenced_are_alone() -> None:
    """Popularity counts the chains of references that lead to a path, and its own."""
    # c: itself, from a, from b, from a by b. b: itself, from a. a and d: themselves.
    known = graph({"a": "b c", "b": "c", "c": "", "d": ""})
    assert _parts("c", "b", *_by_path("a", "d")) == split(known, 4, "popularity")
    assert _parts("c", "a b d") == split(known, 2, "popularity")
    assert _parts("c", "b", "a d") == split(known, 3, "popularity")


def test_popularity_counts_chains_and_not_referrers() -> None:
    """One that is referenced once, by something popular, comes before one referenced twice."""
    known = graph({"a": "m", "b": "m", "c": "m n", "d": "n", "m": "z", "n": "", "z": ""})
    # m has 4, and z one more than m: itself and all that leads to m. n has 3.
    assert _parts("z", "m", "n", "a b c d") == split(known, 4, "popularity")


@pytest.mark.parametrize("references", [{"a": "a"}, {"b": "b"}, {"c": "c"}, {"a": "a c"}])
def test_self_references_do_not_make_popular(references: dict[str, str]) -> None:
    """A path whose contents mention itself counts like any other."""
    known = {"a": "c", "b": "", "c": "", "d": ""}
    plain = graph({**known, "a": "c"})
    changed = graph({**known, **{n: f"{known[n]} {words}" for n, words in references.items()}})
    for max_layers in range(1, 5):
        expected = split(plain, max_layers, "popularity")
        assert expected == split(changed, max_layers, "popularity")


def test_paths_in_layers_below_do_not_count() -> None:
    """A reference to a path that is not in the graph is passed over."""
    known = graph({"a": "below b", "b": "below", "c": ""})
    assert _parts("b", "a c") == split(known, 2, "popularity")


def test_equally_popular_paths_come_by_path() -> None:
    """Without references the paths alone decide."""
    names = ["a", "b", "c", "d", "e"]
    ordered = _by_path(*names)
    known = graph(dict.fromkeys(names, ""))
    assert _parts(*ordered[:2], " ".join(ordered[2:])) == split(known, 3, "popularity")


def test_popularity_beyond_machine_integers() -> None:
    """A lattice has more chains than 64 bits count, and they are still told apart."""
    references = {"p00": "p01 q01"}
    for level in range(1, 80):
        below = f"p{level + 1:02} q{level + 1:02}" if level < 79 else ""
        references[f"p{level:02}"] = references[f"q{level:02}"] = below
    references["q79"] = "r"
    references["r"] = ""
    parts = split(graph(references), 3, "popularity")
    assert (store_path("r"),) == parts[0]
    assert {(store_path("p79"),), (store_path("q79"),)} >= {parts[1]}


def test_a_large_graph_is_split() -> None:
    """A deep chain of more paths than Python recurses is no trouble."""
    known = ClosureGraph(
        info(f"n{number}", [f"n{number + 1}"] if number < 4999 else []) for number in range(5000)
    )
    parts = split(known, 100, "popularity")
    assert 100 == len(parts)
    assert _parts("n4999", "n4998") == parts[:2]


@pytest.mark.parametrize("max_layers", [-1, 0, MAX_LAYERS + 1, 10**9])
def test_a_budget_out_of_bounds_is_refused(max_layers: int) -> None:
    """Container engines mount no more layers than that, and no layer is no image."""
    with pytest.raises(InvalidInputError, match="expected 1 to 125") as caught:
        split(graph({"a": ""}), max_layers)
    assert max_layers == caught.value.value


@pytest.mark.parametrize("max_layers", [1, MAX_LAYERS])
def test_the_bounds_are_allowed(max_layers: int) -> None:
    """1 and `MAX_LAYERS` are budgets; an empty graph needs nothing of them."""
    assert () == split(ClosureGraph(), max_layers)
    assert _parts("a") == split(graph({"a": ""}), max_layers)


def test_an_unknown_strategy_is_refused() -> None:
    """The error lists the strategies that there are."""
    with pytest.raises(InvalidInputError, match="popularity") as caught:
        split(graph({"a": ""}), 1, "random")
    assert "random" == caught.value.value


def _by_path(*names: str) -> list[str]:
    return sorted(names, key=store_path)


def _parts(*parts: str) -> tuple[tuple[str, ...], ...]:
    """Returns what a split into these names (several in a part: with spaces) looks like."""
    return tuple(tuple(sorted(store_path(name) for name in part.split())) for part in parts)
