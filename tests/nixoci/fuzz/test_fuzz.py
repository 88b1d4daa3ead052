"""Tests of the fuzzer itself: it repeats itself, and it finds what there is to find."""

from __future__ import annotations

import json

import pytest

from tests.nixoci.fuzz.fuzz import fuzz, mutations, rounds

_CORPUS = (b"host:1", b'{"a": [{"b": 1}]}')


@pytest.fixture(autouse=True)
def _rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a longer run is asked for."""
    monkeypatch.setenv("NIXOCI_FUZZ_ROUNDS", "4000")


def test_the_same_seed_gives_the_same_inputs() -> None:
    inputs = list(mutations(_CORPUS, 1))
    assert inputs == list(mutations(_CORPUS, 1)) != list(mutations(_CORPUS, 2))
    assert inputs[:2] == list(_CORPUS) and len(inputs) == rounds()
    assert len(set(inputs)) > rounds() / 3


def test_the_number_of_rounds_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIXOCI_FUZZ_ROUNDS", "7")
    assert len(list(mutations(_CORPUS, 1))) == 7


@pytest.mark.parametrize(
    "parse",
    (
        lambda data: int(data.rpartition(b":")[2]),
        lambda data: data.decode(),
        lambda data: json.loads(data)["a"][0]["b"],
        lambda data: json.loads(data) if data.startswith(b"{") else None,
    ),
)
def test_a_parser_that_raises_something_else_is_found(parse) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AssertionError, match="of seed 3: b'"):
        fuzz(parse, _CORPUS, 3)


def test_errors_that_are_expected_are_none() -> None:
    fuzz(lambda data: data.decode(), _CORPUS, 3, UnicodeDecodeError)
