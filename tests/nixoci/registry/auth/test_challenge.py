"""Tests of `nixoci.registry.auth.challenge`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.registry.auth.challenge import Challenge, parse_challenges

_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
_CHALLENGES = st.builds(
    Challenge, _NAMES, st.dictionaries(_NAMES, _VALUES, min_size=1, max_size=3)
)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _written(challenge: Challenge) -> str:
    parameters = (f"{name}={_quoted(value)}" for name, value in challenge.parameters.items())
    return f"{challenge.scheme} {', '.join(parameters)}"


@given(st.lists(_CHALLENGES, max_size=3))
def test_written_challenges_are_parsed(challenges: list[Challenge]) -> None:
    """Whatever is written by the grammar is read back, in one header or in several."""
    headers = [_written(challenge) for challenge in challenges]
    assert parse_challenges(headers) == tuple(challenges)
    assert parse_challenges([", ".join(headers)]) == tuple(challenges)


@given(st.lists(st.text(max_size=200), max_size=3))
def test_anything_is_parsed(headers: list[str]) -> None:
    """No header is an error; a scheme and a parameter's name are tokens in lower case."""
    for challenge in parse_challenges(headers):
        assert challenge.scheme == challenge.scheme.lower() and " " not in challenge.scheme


@pytest.mark.parametrize(
    "header,expected",
    (
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (
            "Negotiate YWJj==, Basic realm=x",
            [Challenge("negotiate"), Challenge("basic", {"realm": "x"})],
        ),
        (
            'BEARER Realm = "https://a/token" ,, service="a, b",scope="r:x:pull,push"',
            [
                Challenge(
                    "bearer",
                    {"realm": "https://a/token", "service": "a, b", "scope": "r:x:pull,push"},
                )
            ],
        ),
        ('realm="x"', []),
        ('Basic realm="never ends', [Challenge("basic")]),
        ("", []),
    ),
)
def test_examples(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges([header])[: len(expected)] == tuple(expected)
