"""What is in an image, from the request to the database: closed and right, or a true error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.database.nix_database import database_bytes
from nixoci.layering.contents import Contents, require_closed, subtract
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import ROOT
from nixoci.store.closure import ClosureGraph, NotClosedError
from nixoci.store.path import StorePath
from nixoci.store.registration import registrations_of
from nixoci.tar.database import garbage_collector_roots

from tests.nixoci.store.closure_support import closure_graphs, naive_closure, some_of, split_recipes


@dataclass(frozen=True)
class Wanted:
    """What one layer target asks for.

    :param layers: positions of the layers that it names, all of them before its own.
    """

    packages: list[StorePath]
    copied: list[StorePath]
    ignored: list[StorePath]
    layers: list[int]


@st.composite
def images(draw: Any) -> tuple[ClosureGraph, list[Wanted]]:
    """A closed graph and layers, of which any may be below any later one."""
    known = draw(closure_graphs())
    # Most graphs are small, so that without an ignored path half of the images are closed.
    ignored = st.just([]) | some_of(known)
    layers = []
    for number in range(draw(st.integers(0, 4))):
        named = draw(st.lists(st.integers(0, number - 1), unique=True)) if number else []
        layers.append(Wanted(draw(some_of(known)), draw(some_of(known)), draw(ignored), named))
    return known, layers


def _stack(known: ClosureGraph, layers: list[Wanted]) -> list[Contents]:
    """Makes the contents of all layers as the plugin does: less what the named ones hold."""
    stack: list[Contents] = []
    below: list[set[int]] = []
    for layer in layers:
        below.append(set(layer.layers).union(*(below[number] for number in layer.layers)))
        stack.append(
            subtract(
                known.closure([*layer.packages, *layer.copied, *layer.ignored]),
                packages=layer.packages,
                copied=layer.copied,
                ignored=layer.ignored,
                below={path for number in below[-1] for path in stack[number].graph},
            )
        )
    return stack


def _on_disk(known: ClosureGraph, layers: list[Wanted]) -> tuple[set[StorePath], set[StorePath]]:
    """The specification: what is in the store of the image, and what is at its root.

    What lies in which layer plays no part in it.
    """
    in_store: set[StorePath] = set()
    at_root: set[StorePath] = set()
    for layer in layers:
        copied = set(layer.copied) - set(layer.ignored)
        reached = naive_closure(known, {*layer.packages, *copied, *layer.ignored})
        kept = reached - set(layer.ignored)
        for path in kept:
            wanted = path in layer.packages or any(path in known[p].references for p in kept)
            if wanted or path not in copied:
                in_store.add(path)
        at_root |= copied
    return in_store, at_root


@settings(max_examples=400)
@given(images())
def test_closed_and_equal_to_the_oracle_or_a_true_witness(
    image: tuple[ClosureGraph, list[Wanted]]
) -> None:
    """The layers and the database hold the same paths, or the error shows who references what."""
    known, layers = image
    stack = _stack(known, layers)
    in_store, at_root = _on_disk(known, layers)
    union = ClosureGraph().union(*(contents.graph for contents in stack))
    assert set(union) == in_store
    missing = {r for path in in_store | at_root for r in known[path].references} - in_store

    try:
        require_closed(stack)
    except NotClosedError as error:
        chain = error.chain
        assert error.missing == chain[-1] and chain[-1] in missing
        assert len(chain) > 1
        assert set(chain[:-1]) <= in_store | at_root
        assert all(after in known[path].references for path, after in zip(chain, chain[1:]))
        return

    assert not missing
    recipe = DatabaseRecipe(registrations_of(union))
    assert {registration.path for registration in recipe.registrations} == in_store
    assert all(r.path_info() == known[r.path] for r in recipe.registrations)
    assert all(set(r.references) <= in_store for r in recipe.registrations)
    assert naive_closure(known, garbage_collector_roots(recipe.registrations)) == in_store
    assert DatabaseRecipe.from_json(recipe.to_json()) == recipe
    entries = [e for c in stack for r in split_recipes(c, max_layers=3) for e in r.entries]
    assert {e.path for e in entries if e.destination != ROOT} == in_store
    assert {e.path for e in entries if e.destination == ROOT} == at_root


@settings(max_examples=50)
@given(images(), st.data())
def test_who_holds_a_path_is_in_no_byte_of_the_database(
    image: tuple[ClosureGraph, list[Wanted]], data: Any
) -> None:
    """The same layers, naming others or none, make the same database."""
    known, layers = image
    alone = [Wanted(w.packages, w.copied, w.ignored, []) for w in layers]
    unions = [
        ClosureGraph().union(*(contents.graph for contents in _stack(known, wanted)))
        for wanted in (layers, data.draw(st.permutations(alone)))
    ]
    try:
        one, other = (database_bytes(registrations_of(union)) for union in unions)
    except NotClosedError:
        assert unions[0] == unions[1]
    else:
        assert one == other
