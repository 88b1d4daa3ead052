"""What is registered of the paths of an image, and its forms."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.store.closure import ClosureGraph, ContradictionError, NotClosedError
from nixoci.store.registration import (
    Registration,
    Registrations,
    closed_registrations,
    from_json,
    parse_text,
    registrations_of,
    to_json,
    to_text,
)

from tests.nixoci.store.closure_support import closure_graphs, graph, info, store_path
from tests.nixoci.store.registration_support import registered, registration_sets

A = "/nix/store/0f1wrvv8jcb06x8ybplzbbhhs8lgag0i-a"

ONE = b"/nix/store/00000000000000000000000000000000-a\n" + b"0" * 64 + b"\n8\n\n"


def test_a_registration_has_what_the_graph_has() -> None:
    """Every path of the graph, with all facts, in the order of the paths."""
    ca = "fixed:r:sha256:" + "0" * 52
    infos = [info("c", ca=ca), info("b", "bc", signatures=("x:aa==", "y:bb=="))]
    found = registrations_of(ClosureGraph(infos))
    assert sorted(i.path for i in infos) == [r.path for r in found]
    assert {i.path: i for i in infos} == {r.path: r.path_info() for r in found}
    assert all(r.deriver is None for r in found)


@given(closure_graphs(), st.data())
def test_closed_or_a_true_witness(known: ClosureGraph, data: Any) -> None:
    """Without some of its paths a graph is registered, or the error names a true chain."""
    removed = data.draw(st.sets(st.sampled_from(list(known)))) if known else set()
    rest = known.without(removed)
    needed = {reference for i in rest.values() for reference in i.references}
    if needed <= set(rest):
        assert list(rest) == [r.path for r in registrations_of(rest)]
        return
    with pytest.raises(NotClosedError) as raised:
        registrations_of(rest)
    chain = raised.value.chain
    assert len(chain) > 1 and chain[-1] not in rest
    assert all(later in rest[path].references for path, later in zip(chain, chain[1:]))


@pytest.mark.parametrize("references", [{"a": "b", "b": "a"}, {"a": "b", "b": "a missing"}])
def test_a_cycle_is_refused(references: dict[str, str]) -> None:
    """Nix registers none and loads none."""
    with pytest.raises(InvalidInputError, match="cycle"):
        registrations_of(graph(references))


def test_a_deriver_is_there_only_if_it_is_registered() -> None:
    """That of `a` is registered and that of `b` is not."""
    found = closed_registrations(
        [
            registered("a", deriver=store_path("a.drv")),
            registered("b", deriver=store_path("b.drv")),
            registered("a.drv"),
        ]
    )
    derivers = {r.path.name: r.deriver for r in found}
    assert {"a": store_path("a.drv"), "b": None, "a.drv": None} == derivers


@given(registration_sets(), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(registrations: Registrations, random: Any) -> None:
    """The same set in any order, some of it twice, is the same."""
    shuffled = [*registrations, *registrations[:2]]
    random.shuffle(shuffled)
    assert registrations == closed_registrations(shuffled)


def test_one_path_from_two_images() -> None:
    """Signatures of both count, and a fact that only one of them knows."""
    ca = "text:sha256:" + "0" * 52
    one = registered("a", signatures=("x:aa",), deriver=store_path("2.drv"))
    other = registered("a", signatures=("w:aa", "x:aa"), ca=ca, deriver=store_path("1.drv"))
    derivers = [registered("1.drv"), registered("2.drv")]
    expected = min(store_path("1.drv"), store_path("2.drv"))
    for pair in ([one, other], [other, one]):
        (merged,) = (r for r in closed_registrations([*pair, *derivers]) if r.path == one.path)
        assert ("w:aa", "x:aa") == merged.signatures
        assert (ca, expected) == (merged.ca, merged.deriver)


def test_one_path_with_two_contents_is_refused() -> None:
    """Neither can be preferred."""
    with pytest.raises(ContradictionError):
        closed_registrations([registered("a"), registered("a", nar_size=1)])


def test_text_has_the_lines_that_nix_reads() -> None:
    """Path, hexadecimal hash, size, deriver, number of references, references."""
    a, drv = registered("a", ["a"], deriver=store_path("a.drv")), registered("a.drv")
    nar_hash = hashlib.sha256(b"nar of a").hexdigest()
    text = to_text([a, drv]).decode()
    lines = text.split("\n")
    start = lines.index(a.path)
    assert [a.path, nar_hash, "128", drv.path, "1", a.path] == lines[start : start + 6]
    assert text.endswith("\n") and "\n\n0\n" in text
    assert b"" == to_text([])


@given(registration_sets())
def test_text_comes_back(registrations: Registrations) -> None:
    """Without content addresses and signatures, which it has no place for."""
    expected = tuple(dataclasses.replace(r, ca=None, signatures=()) for r in registrations)
    assert expected == parse_text(to_text(registrations))


@given(registration_sets())
def test_json_comes_back(registrations: Registrations) -> None:
    """With all facts; one set has one form."""
    data = to_json(registrations)
    assert registrations == from_json(data)
    assert data == to_json(reversed(registrations))


def test_json_is_as_that_of_a_graph() -> None:
    """It says the same in the same words, so one may be read as the other."""
    known = graph({"a": "a b", "b": ""})
    assert known.to_json() == to_json(registrations_of(known))


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        ONE + b"0",
        ONE + b"1\n",
        ONE + b"-1\n",
        ONE + b"+0\n",
        ONE + b"1_0\n",
        ONE + "٠\n".encode(),
        ONE + b"9" * 19 + b"\n",
        ONE + b"9" * 5000 + b"\n",
        ONE + b"0\n\n",
        ONE + b"0\n" + ONE,
        ONE + b"1\n/nix/store/x\n",
        ONE + b"1\n\n",
        ONE.replace(b"\n8\n", b"\n9999999999999999999\n") + b"0\n",
        ONE.replace(b"\n8\n", b"\n8.0\n") + b"0\n",
        ONE.replace(b"0" * 64, b"0" * 63) + b"0\n",
        ONE.replace(b"0" * 64, b"g" * 64) + b"0\n",
        ONE.replace(b"-a", b"-\xff") + b"0\n",
        ONE.replace(b"-a", b"-a\r") + b"0\n",
        ONE.replace(b"/nix/store/", b"/nix/store/../store/") + b"0\n",
        b"\n",
        b"\n" + ONE + b"0\n",
    ],
)
def test_other_text_is_refused(text: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidInputError):
        parse_text(text)


def test_the_refused_texts_are_near_a_good_one() -> None:
    """What they are made of is valid as soon as the number of references is there."""
    assert 8 == parse_text(ONE + b"0\n")[0].nar_size


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 30))
def test_damaged_text_is_refused_in_order(junk: bytes, place: int, length: int) -> None:
    """Whatever is cut out or put in: registrations, or an error that is meant for users."""
    text = to_text(registrations_of(graph({"a": "a b", "b": "", "c": "a"})))
    try:
        found = parse_text(text[:place] + junk + text[place + length :])
    except NixOciError:
        return
    assert isinstance(found, Registrations)


@pytest.mark.parametrize(
    "change",
    [
        {"narHash": "sha256-AA=="},
        {"narHash": None},
        {"narSize": -1},
        {"narSize": 2**63},
        {"narSize": True},
        {"narSize": 1.0},
        {"references": None},
        {"references": ["/nix/store"]},
        {"references": [1]},
        {"deriver": "a.drv"},
        {"deriver": 1},
        {"ca": "fixed:r:sha256:000"},
        {"ca": "fixed:sha256:" + "0" * 52 + " "},
        {"ca": "fixed:r:md4:" + "0" * 52},
        {"ca": {}},
        {"signatures": ["x"]},
        {"signatures": ["x:a b"]},
        {"signatures": ["x y:aa"]},
        {"signatures": ["x:aa\n"]},
        {"signatures": ["\ud800:aa"]},
        {"signatures": "x:aa"},
    ],
)
def test_other_json_is_refused(change: dict[str, Any]) -> None:
    """Also what Nix could not read from the database afterwards."""
    document = json.loads(to_json([registered("a")]))
    document[store_path("a")].update(change)
    with pytest.raises(InvalidInputError):
        from_json(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b'{"x": {}}', b'{"' + A.encode() + b'": []}'])
def test_other_documents_are_refused(data: bytes) -> None:
    """No object, no store path, no registration."""
    with pytest.raises(InvalidInputError):
        from_json(data)


def test_a_registration_is_sorted() -> None:
    """However its references and signatures are given."""
    references = [store_path(name) for name in "cab"]
    given_in_any_order = Registration(
        store_path("x"), registered("x").nar_hash, 1, (*references, references[0])
    )
    assert tuple(sorted(references)) == given_in_any_order.references
