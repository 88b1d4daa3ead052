"""Tests of `nixoci.store.closure`."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.store.closure import (
    ClosureGraph,
    ContradictionError,
    InvalidPathError,
    NotClosedError,
    parse_nix_path_info,
)
from nixoci.store.path import StorePath

from tests.nixoci.store.closure_support import (
    closure_graphs,
    graph,
    info,
    naive_closure,
    some_of,
    store_path,
)

# What three versions of Nix printed of one store: a path that references itself and another, and
# three that are addressed by their contents (a text, a file added flat, a file added as NAR).

APP = "4gw8g0mlwa9b63hndai42j70iw1c0sk4-core-a"
LIBRARY = "nw07kbbz8qhhmfxndc14j3haw932w6a7-core-b"
TEXT = "ifwj8qg7cayz9jqv3fbm40ym9nd75mjj-core-txt"
FLAT = "kfcpd9i77f97m0hmp1spxz2k3i5b6hz4-t.nix"
NAR = "qdznp7wapzvyh4qgyf7v5zvs3yb7vv4f-t.nix"

FACTS: dict[str, dict[str, Any]] = {
    APP: {
        "narHash": "sha256-B0ILawl9pyqLobp53Glaa+HuwPNcxmmU9IoGJgcWbg0=",
        "narSize": 216,
        "references": [APP, LIBRARY],
        "deriver": "mcipkh3fw0l56izjd1qdgx8vb469bpl0-core-a.drv",
    },
    LIBRARY: {
        "narHash": "sha256-32n5UPZyrIhahlHecvnUUszJG7+dVTyUfwqzHMuhq8k=",
        "narSize": 120,
        "references": [],
        "deriver": "fqp1aq49jg7ricsycz5lgc8717rw6cfr-core-b.drv",
    },
    TEXT: {
        "narHash": "sha256-CkMIecJm+LV/QJKg+TXPP6zUi7zN5XYNR0jKQFFx6Wk=",
        "narSize": 120,
        "references": [],
        "ca": "text:sha256:094qif9n4cq4fdg459qzbhg1c6wywawwaaivx0k0x8xhbyx4vwic",
    },
    FLAT: {
        "narHash": "sha256-vYWPodJ5lp0Q48uNHrVC/Ihrg68rZaCNF4ibSCP045I=",
        "narSize": 648,
        "references": [],
        "ca": "fixed:sha256:10q2h5bhs34xa07dzd6by82mms93vnmn9yzq6hsrq6bv6v4gdwh5",
    },
    NAR: {
        "narHash": "sha256-vYWPodJ5lp0Q48uNHrVC/Ihrg68rZaCNF4ibSCP045I=",
        "narSize": 648,
        "references": [],
        "ca": "fixed:r:sha256:14p3yhili6w82y6s0r9bmy1np27w8asix3fbwc89v5krsahqz1dx",
    },
}

#: `ca` as the second JSON format has it.
STRUCTURED_CA = {
    TEXT: {"hash": "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", "method": "text"},
    FLAT: {"hash": "sha256-BfL2yDZ7GZw1NPj7ZKvdI+laBfLLtN8OUJ0MDVeBAoM=", "method": "flat"},
    NAR: {"hash": "sha256-vYWPodJ5lp0Q48uNHrVC/Ihrg68rZaCNF4ibSCP045I=", "method": "nar"},
}


def _absolute(base_name: str) -> str:
    return f"/nix/store/{base_name}"


def _absolute_facts(base_name: str) -> dict[str, Any]:
    facts = dict(FACTS[base_name], registrationTime=1795460969)
    facts["references"] = [_absolute(reference) for reference in facts["references"]]
    if "deriver" in facts:
        facts["deriver"] = _absolute(facts["deriver"])
    return facts


def _nix_2_8() -> Any:
    """A list; what is not so is left out."""
    return [
        dict(
            _absolute_facts(name),
            path=_absolute(name),
            **({"ultimate": True} if name == APP else {}),
        )
        for name in FACTS
    ]


def _nix_2_26() -> Any:
    """A map keyed by path; what is not so is null."""
    nulls: dict[str, Any] = {"ca": None, "deriver": None, "signatures": [], "ultimate": False}
    return {_absolute(name): {**nulls, **_absolute_facts(name)} for name in FACTS}


def _nix_2_34_format_1() -> Any:
    """That map, with two more facts."""
    more = {"storeDir": "/nix/store", "version": 1}
    return {path: {**facts, **more} for path, facts in _nix_2_26().items()}


def _nix_2_34_format_2() -> Any:
    """A map keyed by base name below `info`; references and derivers are base names too."""
    common = {"registrationTime": 1, "signatures": [], "storeDir": "/nix/store", "version": 2}
    infos = {
        name: {"deriver": None, **facts, **common, "ca": STRUCTURED_CA.get(name)}
        for name, facts in FACTS.items()
    }
    return {"info": infos, "storeDir": "/nix/store", "version": 2}


SHAPES = [_nix_2_8, _nix_2_26, _nix_2_34_format_1, _nix_2_34_format_2]


def _parse(document: Any) -> ClosureGraph:
    return parse_nix_path_info(json.dumps(document).encode())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_nix_gives_the_same_graph(shape: Any) -> None:
    """The same store read by any Nix is the same graph: references, sizes, hashes, addresses."""
    found = _parse(shape())
    assert {_absolute(name) for name in FACTS} == set(found)
    for name, facts in FACTS.items():
        known = found[StorePath.parse_base_name(name)]
        references = tuple(_absolute(reference) for reference in facts["references"])
        assert (facts["narHash"], facts["narSize"]) == (known.nar_hash, known.nar_size)
        assert (references, facts.get("ca")) == (known.references, known.ca)
        assert () == known.signatures
    assert _parse(_nix_2_8()).to_json() == found.to_json()


@pytest.mark.parametrize(
    "document",
    [
        [{"path": _absolute(APP), "valid": False}],
        {_absolute(APP): None},
        {"info": {APP: None}, "storeDir": "/nix/store", "version": 2},
    ],
)
def test_a_path_that_is_not_valid_is_named(document: Any) -> None:
    """Every Nix has a way to say that a path is not valid; each is the same error."""
    with pytest.raises(InvalidPathError) as caught:
        _parse(document)
    assert (StorePath.parse(_absolute(APP)),) == caught.value.paths
    assert _absolute(APP) in str(caught.value)


def test_a_git_address_is_read() -> None:
    """The fourth method of the second JSON format has a text form too."""
    document = _nix_2_34_format_2()
    document["info"][NAR]["ca"] = dict(STRUCTURED_CA[NAR], method="git")
    found = _parse(document)[StorePath.parse_base_name(NAR)]
    assert f"fixed:git:{FACTS[NAR]['ca'][len('fixed:r:'):]}" == found.ca


def test_signatures_and_references_are_sorted_and_unique() -> None:
    """Their order in Nix's output is no fact, nor is how often they are said."""
    facts = dict(_absolute_facts(APP), path=_absolute(APP), signatures=["b:2", "a:1", "b:2"])
    facts["references"] = [_absolute(LIBRARY), _absolute(APP), _absolute(LIBRARY)]
    (found,) = _parse([facts]).values()
    assert ("a:1", "b:2") == found.signatures
    assert (_absolute(APP), _absolute(LIBRARY)) == found.references


HOSTILE_CHANGES: dict[str, list[Any]] = {
    "narHash": [None, 1, "", "sha512-x", "sha256:" + "0" * 10, {}, {"algorithm": "sha256"}],
    "narSize": [None, "216", -1, 2.5, True, [], {}],
    "references": [
        None,
        "x",
        {},
        [1],
        [None],
        ["../../etc"],
        ["/etc/passwd"],
        [_absolute(APP) + "/"],
    ],
    "signatures": ["x", [1], {"a": 1}],
    "ca": [0, [], {}, {"method": "nar"}, {"method": []}, {"method": {}}, {"method": "x", "hash": FACTS[NAR]["narHash"]}],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field, value", [(f, v) for f, vs in HOSTILE_CHANGES.items() for v in vs])
def test_a_hostile_fact_is_refused(shape: Any, field: str, value: Any) -> None:
    """One fact of the wrong type or form spoils any of the shapes, with the error of all input."""
    document = shape()
    entries = document.get("info", document) if isinstance(document, dict) else document
    entry = entries[0] if isinstance(entries, list) else next(iter(entries.values()))
    entry[field] = value
    with pytest.raises(InvalidInputError):
        _parse(document)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"1",
        b'"/nix/store"',
        b"[1]",
        b"[null]",
        b"[{}]",
        b'[{"path": null}]',
        b'{"a": {}}',
        b'{"/nix/store/a": null}',
        b'{"../a": null}',
        b'{"": null}',
        b'{"info": [], "version": 2}',
        b'{"info": {"a": null}}',
        b'{"/nix/store/00000000000000000000000000000000-a": "info"}',
        b'{"/nix/store/00000000000000000000000000000000-a": ["valid"]}',
        b'{"/nix/store/00000000000000000000000000000000-a": 1}',
        b'{"info": {"00000000000000000000000000000000-a": "valid"}}',
        b"[" * 100_000,
        b"\xff",
        b"[] []",
    ],
    ids=range(21),
)
def test_another_document_is_refused(data: bytes) -> None:
    """What has none of the shapes is an error, and never a graph with less in it."""
    with pytest.raises(InvalidInputError):
        parse_nix_path_info(data)


@given(st.binary(max_size=30) | st.text(st.sampled_from('[]{}:,"-/0nultrefas '), max_size=30))
def test_noise_is_refused(data: Any) -> None:
    """No bytes raise anything but `InvalidInputError`; a graph made of noise is empty."""
    data = data if isinstance(data, bytes) else data.encode()
    for parse in (parse_nix_path_info, ClosureGraph.from_json):
        try:
            assert 0 == len(parse(data))
        except InvalidInputError:
            pass


@given(closure_graphs(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(known: ClosureGraph, order: random.Random) -> None:
    """Graphs of the same infos are equal, hash and iterate alike and have one JSON form."""
    infos = list(known.values())
    order.shuffle(infos)
    other = ClosureGraph(infos)
    assert known == other and hash(known) == hash(other)
    assert sorted(known) == list(other)
    assert known.to_json() == other.to_json()


@given(closure_graphs(), st.booleans())
def test_json_round_trip(known: ClosureGraph, decorated: bool) -> None:
    """What `to_json` writes is read back to an equal graph with the same JSON form."""
    if decorated:
        known = ClosureGraph(
            replace(i, ca=FACTS[NAR]["ca"], signatures=("a:1", "b:=é")) for i in known.values()
        )
    other = ClosureGraph.from_json(known.to_json())
    assert known == other and known.to_json() == other.to_json()
    assert list(known.values()) == list(other.values())


def test_json_form() -> None:
    """Paths sorted, no spaces, absent facts left out: the bytes are in cache keys."""
    known = ClosureGraph([replace(info("b", ["b"]), signatures=("k:s",), ca="text:x"), info("a")])
    a, b = store_path("a"), store_path("b")
    expected = {
        path: {"narHash": known[path].nar_hash, "narSize": known[path].nar_size, "references": []}
        for path in (a, b)
    }
    expected[b].update(ca="text:x", references=[b], signatures=["k:s"])
    text = json.dumps(expected, sort_keys=True, separators=(",", ":"))
    assert text.encode() == known.to_json()


def test_a_graph_is_no_other_mapping() -> None:
    """A graph equals graphs only, and changes with any fact of any path."""
    known = graph({"a": "b", "b": ""})
    assert known != dict(known) and known != "graph"
    for changed in (
        replace(info("b"), nar_size=1),
        replace(info("b"), nar_hash=FACTS[NAR]["narHash"]),
        replace(info("b"), ca="text:x"),
        replace(info("b"), signatures=("a:1",)),
        info("b", ["b"]),
    ):
        assert known != ClosureGraph([info("a", ["b"]), changed])


@given(st.data())
def test_union_holds_what_each_holds(data: Any) -> None:
    """Union is that of the sets of infos: in any order, any grouping, any number of times."""
    known = data.draw(closure_graphs())
    parts = [known.closure(data.draw(some_of(known))) for _ in range(3)]
    one, two, three = parts
    everything = one.union(two, three)
    assert set(one) | set(two) | set(three) == set(everything)
    assert all(known[path] == everything[path] for path in everything)
    assert everything == three.union(two.union(one)) == everything.union(everything, one)
    assert known == known.union()


@pytest.mark.parametrize("change", [{"nar_hash": FACTS[NAR]["narHash"]}, {"nar_size": 1}])
def test_contradicting_infos_are_refused(change: dict[str, Any]) -> None:
    """Two contents of one path are an error that names it, in whichever order they come."""
    one, other = info("a", ["b"]), replace(info("a", ["b"]), **change)
    for infos in ((one, other), (other, one)):
        with pytest.raises(ContradictionError) as caught:
            ClosureGraph([infos[0]]).union(ClosureGraph([infos[1]]))
        assert (store_path("a"), *infos) == (
            caught.value.path,
            caught.value.one,
            caught.value.other,
        )
        assert store_path("a") in str(caught.value)


def test_contradicting_references_are_refused() -> None:
    """The same contents cannot reference other paths."""
    with pytest.raises(ContradictionError, match="1 and 2 references"):
        ClosureGraph([info("a", ["b"]), info("a", ["b", "c"])])


def test_contradicting_addresses_are_refused() -> None:
    """A path has one content address; that a source does not know it is no contradiction."""
    addressed = replace(info("a"), ca="text:x")
    with pytest.raises(ContradictionError):
        ClosureGraph([addressed, replace(info("a"), ca="text:y")])
    assert [addressed] == list(ClosureGraph([info("a"), addressed]).values())


def test_signatures_of_all_sources_are_kept() -> None:
    """Which store was asked first does not show: who built a path has no signature of it."""
    infos = [replace(info("a"), signatures=names) for names in ((), ("b:2",), ("a:1", "b:2"))]
    expected = ClosureGraph([infos[2]])
    assert expected == ClosureGraph(infos) == ClosureGraph(reversed(infos))


@given(st.data())
def test_closure_is_what_the_roots_reach(data: Any) -> None:
    """The closure is the smallest closed part of the graph that holds the roots."""
    known = data.draw(closure_graphs())
    roots = data.draw(some_of(known))
    found = known.closure(roots)
    assert naive_closure(known, roots) == set(found)
    assert found == found.closure(roots) == found.closure(found)
    assert all(known[path] == found[path] for path in found)


@given(st.data())
def test_closure_that_leads_out_is_refused_with_a_witness(data: Any) -> None:
    """With paths missing, either the closure needs none, or the error shows how one is reached."""
    known = data.draw(closure_graphs())
    roots = data.draw(some_of(known))
    missing = set(data.draw(some_of(known)))
    partial = known.without(missing)
    try:
        found = partial.closure(roots)
    except NotClosedError as error:
        assert error.missing in missing and error.chain[0] in roots
        _assert_chain(known, error.chain)
        assert all(path in str(error) for path in error.chain)
    else:
        assert not missing & naive_closure(known, roots)
        assert known.closure(roots) == found


def test_a_root_that_is_not_in_the_graph_is_its_own_witness() -> None:
    """The sentence then claims no reference."""
    with pytest.raises(NotClosedError) as caught:
        graph({"a": ""}).closure([store_path("z")])
    assert (store_path("z"),) == caught.value.chain
    assert f"{store_path('z')} is left out, but it is asked for itself." == str(caught.value)


@given(st.data())
def test_without_takes_away_and_changes_nothing_else(data: Any) -> None:
    """What stays keeps its infos, and paths that are not in the graph are no error."""
    known = data.draw(closure_graphs())
    taken = set(data.draw(some_of(known)))
    left = known.without(taken | {store_path("other")})
    assert set(known) - taken == set(left)
    assert all(known[path] == left[path] for path in left)


@given(closure_graphs(), st.booleans())
def test_referrers_first(known: ClosureGraph, with_hole: bool) -> None:
    """Each time the smallest path comes next that nothing still waiting references but itself."""
    if with_hole:
        known = known.without(set(list(known)[::3]))
    waiting = set(known)
    expected = []
    while waiting:
        referenced = {r for path in waiting for r in known[path].references if r != path}
        expected.append(min(waiting - referenced))
        waiting.remove(expected[-1])
    assert tuple(expected) == known.referrers_first()


def test_self_references_are_no_cycle() -> None:
    """A path whose contents mention itself has its place in the order like any other."""
    known = graph({"a": "a b", "b": "b"})
    assert (store_path("a"), store_path("b")) == known.referrers_first()


@pytest.mark.parametrize(
    "references", [{"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b d", "d": ""}]
)
def test_cycles_are_refused(references: dict[str, str]) -> None:
    """Nix never registers a cycle of different paths, so it is bad input."""
    with pytest.raises(InvalidInputError, match="cycle"):
        graph(references).referrers_first()


@given(st.data())
def test_chain_to_is_a_shortest_witness(data: Any) -> None:
    """It leads from a path that no other references to the target, and no chain is shorter."""
    known = data.draw(closure_graphs().filter(len))
    target = data.draw(st.sampled_from(list(known)))
    if data.draw(st.booleans()):
        # As where it is used: the target is what is missing.
        partial = known.without({target})
        if not any(target in facts.references for facts in partial.values()):
            return
    else:
        partial = known
    chain = partial.chain_to(target)
    assert target == chain[-1]
    _assert_chain(known, chain)
    starts = {
        path
        for path in partial
        if not any(path in facts.references for facts in partial.values() if facts.path != path)
    }
    assert chain[0] in starts
    # Breadth first by sets: after n steps, all that n references lead to.
    reached, steps = set(starts), 1
    while target not in reached:
        reached |= {r for path in reached if path in partial for r in partial[path].references}
        steps += 1
    assert steps == len(chain)


@pytest.mark.parametrize("short, long", ["bc", "cb"])
def test_chain_to_takes_the_shorter_way(short: str, long: str) -> None:
    """Whichever of two ways comes first by path, the one with fewer references is shown."""
    known = graph({"a": "b c", long: "d", "d": "z", short: "z", "z": ""})
    names = [path.name for path in known.chain_to(store_path("z"))]
    assert ["a", short, "z"] == names


def test_chain_to_does_not_depend_on_the_order_of_the_input() -> None:
    """Of several shortest chains it is always the same one."""
    infos = [
        info("a", ["c"]),
        info("b", ["c"]),
        info("c", ["d", "e"]),
        info("d", ["z"]),
        info("e", ["z"]),
    ]
    chains = set()
    for seed in range(20):
        random.Random(seed).shuffle(infos)
        chains.add(ClosureGraph(infos).chain_to(store_path("z")))
    assert 1 == len(chains)


def _assert_chain(known: ClosureGraph, chain: tuple[StorePath, ...]) -> None:
    assert len(set(chain)) == len(chain)
    assert all(after in known[before].references for before, after in zip(chain, chain[1:]))
