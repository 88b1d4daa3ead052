"""Tests of `nixoci.layering.contents`."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.layering.contents import Contents, require_closed, subtract
from nixoci.layering.split import MAX_LAYERS
from nixoci.recipe.layer import ROOT, Owner, Permission
from nixoci.store.closure import ClosureGraph, ContradictionError, NotClosedError
from nixoci.store.path import StorePath

from tests.nixoci.store.closure_support import (
    closure_graphs,
    graph,
    naive_closure,
    some_of,
    split_recipes,
    store_path,
)


@dataclass(frozen=True)
class Request:
    """What one layer target asks for."""

    packages: list[StorePath]
    copied: list[StorePath]
    ignored: list[StorePath]


@st.composite
def requests(draw: Any, known: ClosureGraph, may_ignore: bool = True) -> Request:
    ignored = draw(some_of(known)) if may_ignore else []
    return Request(draw(some_of(known)), draw(some_of(known)), ignored)


def _subtract(known: ClosureGraph, request: Request, below: Any = ()) -> Contents:
    return subtract(
        known,
        packages=request.packages,
        copied=request.copied,
        ignored=request.ignored,
        below=below,
    )


def _expected(
    known: ClosureGraph, request: Request, below: Any
) -> tuple[set[StorePath], list[StorePath]]:
    """The specification, word by word and path by path."""
    copied = [path for path in request.copied if path not in request.ignored]
    reached = naive_closure(known, [*request.packages, *copied, *request.ignored])
    in_layer = set()
    for path in reached - set(request.ignored):
        referrers = {p for p in reached - set(request.ignored) if path in known[p].references}
        if path in copied and path not in request.packages and not referrers:
            continue
        if path not in below:
            in_layer.add(path)
    return in_layer, copied


@settings(max_examples=300)
@given(st.data())
def test_subtract_is_as_specified(data: Any) -> None:
    """A layer holds what is reached, less ignored, less only copied, less what is below."""
    known = data.draw(closure_graphs())
    request = data.draw(requests(known))
    below = data.draw(some_of(known))
    contents = _subtract(known, request, below)
    in_layer, copied = _expected(known, request, below)
    assert in_layer == set(contents.graph)
    assert copied == [info.path for info in contents.copied]
    assert all(known[path] == info for path, info in contents.graph.items())
    assert all(known[info.path] == info for info in contents.copied)


@given(st.data())
def test_more_in_the_graph_changes_nothing(data: Any) -> None:
    """A layer depends on what it reaches only, and not on the order in which it is asked for."""
    known = data.draw(closure_graphs())
    request = data.draw(requests(known))
    smaller = known.closure([*request.packages, *request.copied, *request.ignored])
    turned = Request(request.packages[::-1], request.copied, request.ignored[::-1] * 2)
    assert _subtract(known, request) == _subtract(smaller, turned)


@given(st.data())
def test_a_graph_that_is_not_closed_is_refused(data: Any) -> None:
    """What is missing is never passed over, not even if it is ignored or below."""
    known = data.draw(closure_graphs(6).filter(len))
    request = data.draw(requests(known))
    missing = data.draw(st.sampled_from(list(known)))
    roots = [*request.packages, *request.copied, *request.ignored]
    if missing not in naive_closure(known, roots):
        return
    # A copied path that is ignored too is asked for as an ignored one.
    with pytest.raises(NotClosedError) as caught:
        _subtract(known.without({missing}), request, below=known)
    assert missing == caught.value.missing


def test_ignored_configuration_file() -> None:
    """The model case: what the file references comes in, the file itself stays out."""
    known = graph({"config": "app", "app": "libc", "libc": "", "other": ""})
    request = Request([], [], [store_path("config")])
    contents = _subtract(known, request)
    assert {store_path("app"), store_path("libc")} == set(contents.graph)
    require_closed([contents])


def test_copied_that_nothing_references_is_at_the_root_only() -> None:
    """Its references are in the store of the image; the path itself is not."""
    known = graph({"tree": "libc", "libc": ""})
    contents = _subtract(known, Request([], [store_path("tree")], []))
    assert {store_path("libc")} == set(contents.graph)
    assert [store_path("tree")] == [info.path for info in contents.copied]
    require_closed([contents])


@pytest.mark.parametrize(
    "references, packages",
    [
        ({"tree": "tree"}, []),
        ({"tree": "", "app": "tree"}, ["app"]),
        ({"tree": ""}, ["tree"]),
    ],
    ids=["by itself", "by another", "as a package"],
)
def test_copied_that_is_needed_is_in_the_store_too(
    references: dict[str, str], packages: list[str]
) -> None:
    """A copied path that is referenced (by itself, by another) or a package is in both places."""
    known = graph(references)
    tree = store_path("tree")
    contents = _subtract(known, Request([store_path(name) for name in packages], [tree], []))
    assert set(known) == set(contents.graph)
    assert [tree] == [info.path for info in contents.copied]


def test_copied_twice_is_copied_once() -> None:
    """The order is that of the request, the first time that each is named."""
    known = graph({"a": "", "b": ""})
    a, b = store_path("a"), store_path("b")
    contents = subtract(known, packages=[], copied=[b, a, b])
    assert [b, a] == [info.path for info in contents.copied]


@settings(max_examples=300)
@given(st.data())
def test_a_stack_is_closed_or_shows_why_not(data: Any) -> None:
    """`require_closed` passes exactly if every reference of what is on disk is on disk."""
    known = data.draw(closure_graphs())
    stack: list[Contents] = []
    for _ in range(data.draw(st.integers(0, 3))):
        below = {path for contents in stack for path in contents.graph}
        stack.append(_subtract(known, data.draw(requests(known)), below))
    on_disk = {path for contents in stack for path in contents.graph}
    at_root = {info.path for contents in stack for info in contents.copied}
    missing = {r for path in on_disk | at_root for r in known[path].references} - on_disk
    try:
        require_closed(stack)
    except NotClosedError as error:
        chain = error.chain
        assert len(chain) > 1 and chain[-1] in missing
        assert chain[-2] in on_disk | at_root and chain[0] in on_disk | at_root
        assert all(after in known[before].references for before, after in zip(chain, chain[1:]))
    else:
        assert not missing


@given(st.data())
def test_layers_that_ignore_nothing_are_closed(data: Any) -> None:
    """Only `ignored` can break closedness: without it each layer over those below is closed."""
    known = data.draw(closure_graphs())
    stack: list[Contents] = []
    for _ in range(data.draw(st.integers(1, 3))):
        below = {path for contents in stack for path in contents.graph}
        stack.append(_subtract(known, data.draw(requests(known, may_ignore=False)), below))
        require_closed(stack)
    paths = [path for contents in stack for path in contents.graph]
    assert len(set(paths)) == len(paths)


def test_the_error_names_who_references_the_ignored_path() -> None:
    """The way to what is left out starts at a path that nobody references."""
    known = graph({"app": "python", "python": "libc", "libc": "", "tool": "tool"})
    libc = store_path("libc")
    request = Request([store_path("app"), store_path("tool")], [], [libc])
    with pytest.raises(NotClosedError) as caught:
        require_closed([_subtract(known, request)])
    assert (store_path("app"), store_path("python"), libc) == caught.value.chain
    assert f"{libc} is left out, but it is referenced" in str(caught.value)


def test_what_a_copied_tree_references_must_be_there() -> None:
    """Files at the root of the image mention store paths as well as those in the store do."""
    known = graph({"tree": "libc", "libc": ""})
    request = Request([], [store_path("tree")], [store_path("libc")])
    with pytest.raises(NotClosedError) as caught:
        require_closed([_subtract(known, request)])
    assert (store_path("tree"), store_path("libc")) == caught.value.chain


def test_contradicting_layers_are_refused() -> None:
    """Two layers that know one path with other references cannot be in one image."""
    with pytest.raises(ContradictionError):
        require_closed([Contents(graph({"a": ""})), Contents(graph({"a": "a"}))])


PATTERNS = ["/", ".*", "/etc/passwd", "/nix/store", "/nix/store/.*/bin/x", "/var(/.*)?", "/niy/.*"]


@given(st.data(), st.integers(1, 12))
def test_recipes_hold_everything_once(data: Any, max_layers: int) -> None:
    """Every path is in one recipe under its own name, sorted; the last one has what is copied."""
    known = data.draw(closure_graphs())
    contents = _subtract(known, data.draw(requests(known)))
    made = split_recipes(contents, max_layers=max_layers)
    assert len(made) <= max_layers and all(recipe.entries for recipe in made)
    in_store = [[e for e in recipe.entries if e.destination != ROOT] for recipe in made]
    at_root = [[e for e in recipe.entries if e.destination == ROOT] for recipe in made]
    flat = [entry for entries in in_store for entry in entries]
    assert list(contents.graph) == sorted(entry.path for entry in flat)
    assert all(entry.destination == entry.path for entry in flat)
    assert all(entries == sorted(entries, key=lambda e: e.path) for entries in in_store)
    assert not any(at_root[:-1])
    if contents.copied:
        copied = sorted(info.path for info in contents.copied)
        assert copied == [entry.path for entry in at_root[-1]]
        assert max_layers == 1 or not in_store[-1]
    assert all(known[e.path].nar_hash == e.nar_hash for r in made for e in r.entries)


@given(st.data(), st.integers(1, 6), st.randoms())
def test_recipes_depend_on_the_contents_only(
    data: Any, max_layers: int, order: random.Random
) -> None:
    """Infos found in another order, signed or not, give recipes of the same bytes."""
    known = data.draw(closure_graphs())
    request = data.draw(requests(known))
    infos = [replace(info, signatures=("a:1",), ca="text:x") for info in known.values()]
    order.shuffle(infos)
    one, other = (
        split_recipes(_subtract(found, request), max_layers=max_layers)
        for found in (known, ClosureGraph(infos))
    )
    assert [recipe.to_json() for recipe in one] == [recipe.to_json() for recipe in other]


@given(st.data(), st.integers(1, 6))
def test_permissions_are_where_they_may_match(data: Any, max_layers: int) -> None:
    """A recipe has, in their order, those permissions that may match one of its destinations."""
    known = data.draw(closure_graphs())
    contents = _subtract(known, data.draw(requests(known)))
    patterns = data.draw(st.lists(st.sampled_from([*PATTERNS, *known]), max_size=5))
    permissions = [Permission(pattern, mode=0o700) for pattern in patterns]
    for recipe in split_recipes(contents, max_layers=max_layers, permissions=permissions):
        assert recipe.permissions == tuple(
            permission
            for permission in permissions
            if any(permission.may_match(entry.destination) for entry in recipe.entries)
        )


def test_a_permission_of_one_path_changes_one_recipe() -> None:
    """The recipes, and so the digests, of the other layers stay as they were."""
    contents = Contents(graph({"a": "b", "b": "c", "c": ""}))
    plain = split_recipes(contents, max_layers=3)
    changed = split_recipes(
        contents, max_layers=3, permissions=[Permission(f"{store_path('b')}/bin/su", mode=0o4555)]
    )
    differing = [one.paths for one, other in zip(plain, changed) if one != other]
    assert [(store_path("b"),)] == differing


def test_the_owner_is_in_every_recipe() -> None:
    """Whoever is to own /nix owns what is in each layer."""
    owner = Owner(1000, 100, "user", "users")
    contents = Contents(graph({"a": "", "b": ""}))
    assert [owner] * 2 == [r.owner for r in split_recipes(contents, max_layers=2, owner=owner)]


def test_the_dialect_is_in_every_recipe() -> None:
    """All layers are written in the same way, `oci` unless another is asked for."""
    contents = Contents(graph({"a": "", "b": ""}))
    assert ["oci"] * 2 == [r.dialect for r in split_recipes(contents, max_layers=2)]
    made = split_recipes(contents, max_layers=2, dialect="nix2container")
    assert ["nix2container"] * 2 == [recipe.dialect for recipe in made]
    with pytest.raises(InvalidInputError, match="dialect"):
        split_recipes(contents, max_layers=2, dialect="docker")


def test_the_excludes_are_in_every_recipe() -> None:
    """Of what is copied to the root as well; sorted."""
    known = graph({"a": "", "b": "", "c": ""})
    contents = _subtract(known, Request([store_path("a"), store_path("b")], [store_path("c")], []))
    made = split_recipes(contents, max_layers=3, excludes=["x/**", "a"])
    assert [("a", "x/**")] * 3 == [recipe.excludes for recipe in made]
    assert [()] * 3 == [recipe.excludes for recipe in split_recipes(contents, max_layers=3)]


def test_nothing_makes_no_layer() -> None:
    """Contents that are empty have no recipe."""
    assert () == split_recipes(Contents(ClosureGraph()), max_layers=1)


@pytest.mark.parametrize("copied", [[], ["tree"]])
@pytest.mark.parametrize("max_layers", [-1, 0, MAX_LAYERS + 1])
def test_a_budget_out_of_bounds_is_refused(max_layers: int, copied: list[str]) -> None:
    """The bounds hold for all layers together, and the error names the number that was given."""
    known = graph({"a": "", "tree": ""})
    contents = subtract(known, packages=[store_path("a")], copied=[store_path(n) for n in copied])
    with pytest.raises(InvalidInputError, match="expected 1 to 125") as caught:
        split_recipes(contents, max_layers=max_layers)
    assert max_layers == caught.value.value
