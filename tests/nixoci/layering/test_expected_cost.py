"""Tests of `nixoci.layering.expected_cost` and of what it is made of."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.layering.cost.model import cost_model, package_name
from nixoci.layering.distributions import DistributionSize, distributions_apart
from nixoci.layering.document import split_document
from nixoci.layering.preferences import Preferences
from nixoci.layering.split import Split, split
from nixoci.store.closure import ClosureGraph

from tests.nixoci.store.closure_support import graph, info, store_path

MB = 1_000_000


def generated(paths: int, seed: int) -> ClosureGraph:
    """Returns a closure with sizes of many magnitudes, and one root that reaches everything."""
    chance = random.Random(seed)
    infos = []
    names: list[str] = []
    for number in range(paths - 1):
        name = f"package-{number}"
        some = chance.sample(names, min(len(names), chance.choice([0, 1, 2, 5, 9])))
        infos.append(info(name, some, nar_size=int(min(10**9, chance.lognormvariate(12, 2)))))
        names.append(name)
    return ClosureGraph([*infos, info("root", names, nar_size=3 * MB)])


def pushed(before: Split, after: Split, known: ClosureGraph) -> int:
    """Returns the bytes of layers that are new."""
    return sum(known[p].nar_size for part in set(after) - set(before) for p in part)


def names(parts: Split) -> list[list[str]]:
    return sorted(sorted(path.name for path in part) for part in parts)


def test_what_changes_together_is_together() -> None:
    """A library and its user share a layer before two that have nothing in common do."""
    references = {"root": "a b", "a": "liba", "liba": "", "b": "libb", "libb": ""}
    known = ClosureGraph(replace(i, nar_size=10 * MB) for i in graph(references).values())
    assert [["a", "liba"], ["b", "libb"], ["root"]] == names(split(known, 3))


def test_what_the_user_builds_is_alone() -> None:
    """A root changes with everything, so nothing big goes into its layer."""
    known = ClosureGraph([info("root", ["a", "b"]), info("a", nar_size=MB), info("b", nar_size=MB)])
    assert [["a", "b"], ["root"]] == names(split(known, 2))


def test_small_paths_are_not_worth_a_layer() -> None:
    """Within the budget, paths of some bytes share a layer and big ones do not."""
    tiny = [info(f"tiny-{n}") for n in range(5)]
    big = [info(f"big-{n}", nar_size=MB) for n in range(3)]
    parts = names(split(ClosureGraph([*tiny, *big]), 100))
    assert [["big-0"], ["big-1"], ["big-2"], [f"tiny-{n}" for n in range(5)]] == parts


def test_layers_that_change_often_are_on_top() -> None:
    """What is below is referenced by what is above."""
    references = {"root": "middle", "middle": "low", "low": ""}
    known = ClosureGraph(replace(i, nar_size=MB) for i in graph(references).values())
    assert ["low", "middle", "root"] == [part[0].name for part in split(known, 3)]


def test_the_hash_does_not_decide() -> None:
    """Other hashes (a new build of the same names and sizes) give the same split by name."""
    known = generated(60, 1)
    digits = {path: store_path(f"{path.name}-again")[:43] for path in known}

    def renamed(path: str) -> object:
        return type(next(iter(known))).parse(f"{digits[path]}-{path[44:]}")  # type: ignore[index]

    again = ClosureGraph(
        replace(i, path=renamed(i.path), references=tuple(sorted(map(renamed, i.references))))  # type: ignore[type-var, arg-type]
        for i in known.values()
    )
    assert not set(known) & set(again)
    assert names(split(known, 10)) == names(split(again, 10))


@given(seed=st.integers(0, 10**6), size=st.integers(0, MB))
def test_a_new_leaf_does_not_reshuffle_what_was_pushed(seed: int, size: int) -> None:
    """With one more leaf under the root and the previous layers, most bytes stay where they are."""
    known = generated(80, seed)
    before = split(known, 20)
    leaf = info("leaf", nar_size=size)
    root = known[store_path("root")]
    changed = replace(root, references=tuple(sorted([*root.references, leaf.path])))
    after_graph = ClosureGraph([*known.without({root.path}).values(), changed, leaf])
    after = split(after_graph, 20, preferences=Preferences(previous=before))
    total = sum(i.nar_size for i in after_graph.values())
    assert pushed(before, after, after_graph) <= total / 4


@pytest.mark.parametrize("max_layers, most", [(20, 0.05), (40, 0.05), (100, 0.03)])
def test_a_new_small_leaf_pushes_little_without_previous_layers(
    max_layers: int, most: float
) -> None:
    """Two splits that know nothing of each other have nearly all large paths in the same layers."""
    shares = []
    for seed in range(12):
        known = generated(200, seed)
        before = split(known, max_layers)
        after_graph = with_leaf(known, size=20_000)
        after = split(after_graph, max_layers)
        total = sum(i.nar_size for i in after_graph.values())
        # The root is a new path, as its contents are.
        shares.append((pushed(before, after, after_graph) - 3 * MB - 20_000) / total)
    assert sum(shares) / len(shares) <= most


def with_leaf(known: ClosureGraph, size: int) -> ClosureGraph:
    """Returns the next revision of a graph: the root references one more path."""
    leaf = info("leaf", nar_size=size)
    root = known[store_path("root")]
    changed = replace(
        root,
        path=store_path("root-again"),
        references=tuple(sorted([*root.references, leaf.path])),
    )
    return ClosureGraph([*known.without({root.path}).values(), changed, leaf])


def test_small_paths_do_not_move_large_ones() -> None:
    """However many small paths there are, the layers of large paths stay as they were."""
    known = generated(150, 7)
    large = {p for p, i in known.items() if i.nar_size > 100_000}
    more = ClosureGraph([*known.values(), *(info(f"tiny-{n}", nar_size=500) for n in range(50))])

    def of_large(graph: ClosureGraph) -> set[tuple[str, ...]]:
        parts = split(graph, 20)
        return {part for part in parts if large.intersection(part)}

    assert of_large(known) == of_large(more)


def test_ten_thousand_paths_are_split() -> None:
    """A very large closure goes through the coarse groups, and the result is a partition."""
    known = generated(10_000, 5)
    parts = split(known, 100)
    assert 100 >= len(parts) and all(parts)
    assert list(known) == sorted(path for part in parts for path in part)


def test_rates_keep_apart_what_changes_often() -> None:
    """A weight on names, first match first, takes a volatile path out of a stable layer."""
    known = ClosureGraph(info(name, nar_size=MB) for name in ("a", "b", "own-1", "own-2"))
    rates = Preferences(rates=(("own-*", 50), ("*", 1)))
    assert [["a", "b"], ["own-1", "own-2"]] == names(split(known, 2, preferences=rates))


@pytest.mark.parametrize(
    "rate",
    [-1, float("nan"), float("inf"), 10**400, -(10**400), 1e308, 1_000_001, True, "1", None],
    ids=range(10),
)
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    """A rate is a number from 0 on, with which one can compute, whoever takes it."""
    with pytest.raises(InvalidInputError, match="rate of x.*from 0 on"):
        Preferences(rates=(("x", rate),))
    distributions = [DistributionSize("a", "1", 1), DistributionSize("b", "1", 1)]
    with pytest.raises(InvalidInputError, match="rate of x.*from 0 on"):
        distributions_apart(distributions, rates=(("x", rate),))


@pytest.mark.parametrize("number", ("1e400", "-1", "1" + 400 * "0", "1" + 5000 * "0", "NaN", "[]"), ids=range(6))
@pytest.mark.parametrize("form", ('"rates": [["*", %s]]', '"weights": {"*": %s}', '"max_layers": %s'))
def test_numbers_of_a_request(form: str, number: str) -> None:
    """The same of the JSON of `nixoci split`."""
    path = store_path("a")
    request = '{"graph": [{"path": "%s", "narSize": 1, "references": []}], "max_layers": 9, %s}'
    with pytest.raises(InvalidInputError):
        split_document((request % (path, form % number)).encode(), "expected_cost")


@pytest.mark.parametrize("rate", [0, 1e-300, 1_000_000])
def test_the_ends_of_rates(rate: float) -> None:
    known = graph({"a": "", "b": "a"})
    assert split(known, 2, preferences=Preferences(rates=(("a", rate),)))


@pytest.mark.parametrize("seed", range(3))
def test_previous_layers_are_kept(seed: int) -> None:
    """With the previous layers, the same graph costs nothing, and another budget less than new."""
    known = generated(80, seed)
    before = split(known, 20)
    kept = split(known, 20, preferences=Preferences(previous=before))
    assert 0 == pushed(before, kept, known)
    more = split(known, 24, preferences=Preferences(previous=before))
    assert pushed(before, more, known) <= pushed(before, split(known, 24), known)


@pytest.mark.parametrize(
    "name, expected",
    [("hello-2.12", "hello"), ("python3.11-numpy-1.2-dev", "python3.11-numpy"), ("app", "app")],
)
def test_package_names(name: str, expected: str) -> None:
    """A version begins after a dash that no letter follows."""
    assert expected == package_name(store_path(name))


def test_triggers_are_counted_by_their_rates() -> None:
    """The rate of a layer is the sum over all in the closures of its paths, outside ones too."""
    known = graph({"root": "a below", "a": ""})
    model = cost_model(known, Preferences(rates=(("a", 3), ("root", 2))))
    rates = {p.name: model.rate(t) for p, t in zip(model.paths, model.triggers)}
    assert {"a": 3000, "root": 6000} == rates


@pytest.mark.parametrize("groups, error", [([["nothing"]], "matches no"), ([["a"], ["b"]], "need 3")])
def test_groups_that_cannot_be_are_refused(groups: Sequence[Sequence[str]], error: str) -> None:
    """A group without paths, and more groups than layers, are errors."""
    preferences = Preferences(groups=tuple(map(tuple, groups)))
    with pytest.raises(InvalidInputError, match=error):
        split(graph({"a": "", "b": "", "c": ""}), 2, "explicit", preferences)


def test_groups_are_layers() -> None:
    """Each group is a layer, and the rest is split over the others."""
    known = ClosureGraph(info(name, nar_size=MB) for name in ("a-1", "a-2", "b", "c"))
    preferences = Preferences(groups=(("a-*",),))
    assert [["a-1", "a-2"], ["b"], ["c"]] == names(split(known, 3, "explicit", preferences))


def test_size_first_makes_cores_of_the_largest() -> None:
    """What only one core needs is with it, and what two need is apart from both."""
    references = {"big": "own shared", "large": "shared", "own": "", "shared": "", "else": ""}
    sizes = {"big": 9 * MB, "large": 8 * MB}
    known = ClosureGraph(
        replace(i, nar_size=sizes.get(i.path.name, 100)) for i in graph(references).values()
    )
    parts = names(split(known, 4, "size_first"))
    assert [["big", "own"], ["else"], ["large"], ["shared"]] == parts
