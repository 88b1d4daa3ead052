"""Tests of `nixoci.store.messages.activities`: lines as Nix writes them, and as nobody should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nixoci.store.messages.activities import Activities
from nixoci.store.path import STORE_DIR

_HASH = "0" * 32

#: Kinds of activities and results.
_COPY_PATH, _REALISE, _COPY_PATHS, _BUILDS, _BUILD = 100, 102, 103, 104, 105
_LOG_LINE, _SET_EXPECTED, _PROGRESS = 101, 106, 105


def _line(**event: Any) -> bytes:
    return b"@nix " + json.dumps(event).encode() + b"\n"


def _start(number: int, kind: int, *fields: Any, text: str = "", level: int = 3) -> bytes:
    return _line(action="start", id=number, type=kind, fields=list(fields), text=text, level=level)


def _build(number: int, name: str) -> bytes:
    path = f"{STORE_DIR}/{_HASH}-{name}.drv"
    return _start(number, _BUILD, path, "", 1, 1, text=f"building '{path}'")


def _result(number: int, kind: int, *fields: Any) -> bytes:
    return _line(action="result", id=number, type=kind, fields=list(fields))


def _read(activities: Activities, *lines: bytes) -> str:
    return b"".join(map(activities.read, lines)).decode()


def test_builds_are_named_and_counted() -> None:
    activities = Activities()
    assert activities.words() == ""
    log = _read(
        activities,
        _start(1, _BUILDS),
        _build(2, "foo-1.2"),
        _result(1, _PROGRESS, 3, 17, 1, 0),
        _build(3, "bar-3"),
        _result(1, _PROGRESS, 3, 17, 2, 0),
        _result(2, _LOG_LINE, "checking \x1b[31mwhether\x1b[0m gcc works\r"),
    )
    assert log.splitlines() == [
        f"building '{STORE_DIR}/{_HASH}-foo-1.2.drv'...",
        f"building '{STORE_DIR}/{_HASH}-bar-3.drv'...",
        "checking whether gcc works",
    ]
    assert activities.words() == "Building foo-1.2, bar-3 (3 built, 12 left)"
    steps = activities.steps
    _read(activities, _result(1, _PROGRESS, 4, 17, 1, 0), _line(action="stop", id=2))
    assert activities.words() == "Building bar-3 (4 built, 12 left)" and activities.steps > steps
    _read(activities, _result(1, _PROGRESS, 4, 16, 1, 1))
    assert activities.words() == "Building bar-3 (4 built, 11 left, 1 failed)"
    _read(activities, *(_build(4 + n, f"n{n}") for n in range(4)), _result(1, _PROGRESS, 4, 16, 5, 0))
    assert activities.words() == "Building bar-3, n0, n1 and 2 more (4 built, 7 left)"
    _read(activities, *(_line(action="stop", id=n) for n in range(3, 8)))
    assert activities.words() == ""


def test_some_versions_say_late_that_a_build_has_ended() -> None:
    """As 2.26: when all is over. What runs is known by what Nix counts, if that tells."""
    activities = Activities()
    _read(activities, _start(1, _BUILDS), _build(2, "a"), _result(1, _PROGRESS, 0, 5, 1, 0))
    _read(activities, _build(3, "b"), _result(1, _PROGRESS, 0, 5, 2, 0))
    assert activities.words() == "Building a, b (0 built, 3 left)"
    _read(activities, _result(1, _PROGRESS, 1, 5, 1, 0))
    assert activities.words() == "Building 1, the last begun b (1 built, 3 left)"
    _read(activities, _build(4, "c"), _result(1, _PROGRESS, 1, 5, 2, 0))
    assert activities.words() == "Building 2, the last begun c (1 built, 2 left)"
    _read(activities, _result(1, _PROGRESS, 3, 5, 0, 0))
    assert activities.words() == ""
    _read(activities, _build(5, "d"), _result(1, _PROGRESS, 3, 5, 1, 0))
    assert activities.words() == "Building d (3 built, 1 left)"


def test_what_nix_does_not_count_is_named() -> None:
    activities = Activities()
    _read(activities, _build(2, "a"), _build(3, "b"))
    assert activities.words() == "Building a, b (0 built, 0 left)" and activities.steps == 2


def test_what_is_fetched_has_a_size() -> None:
    """If Nix says one; what is there already counts."""
    activities = Activities()
    copies = [_start(10 + n, _COPY_PATH, f"{STORE_DIR}/{_HASH}-p{n}", "http://cache", "daemon") for n in range(2)]
    _read(activities, _start(1, _COPY_PATHS), copies[0], _result(1, _PROGRESS, 0, 2, 1, 0))
    assert activities.words() == "Fetching p0 (0 fetched, 1 left)"
    _read(activities, _start(2, 0), _start(3, _REALISE), _result(3, _SET_EXPECTED, _COPY_PATH, 5_000_000))
    _read(activities, _result(10, _PROGRESS, 3_000_000, 3_000_000, 0, 0), _line(action="stop", id=10))
    _read(activities, _result(1, _PROGRESS, 1, 2, 1, 0), copies[1])
    steps = activities.steps
    _read(activities, _result(11, _PROGRESS, 500_000, 2_000_000, 0, 0))
    # Bytes are no step.
    assert activities.steps == steps
    assert activities.words() == "Fetching p1 (1 fetched, 0 left; 3.5 of 5.0 MB)"


def test_what_is_for_people_stays() -> None:
    """As Nix writes it without that format: messages up to its usual level, and lines that are no messages."""
    activities = Activities()
    error = "\x1b[31;1merror:\x1b[0m builder failed\n       last line"
    for line in (b"plain\n", b"@nix {\n", b"\xff\n"):
        assert activities.read(line) == line
    assert _read(activities, _line(action="msg", level=0, msg=error)) == "error: builder failed\n       last line\n"
    assert _read(activities, _line(action="msg", level=4, msg="talkative")) == ""
    assert _read(activities, _start(1, 0, text="querying info", level=4)) == ""


@pytest.mark.parametrize(
    "event",
    [
        [],
        {},
        {"action": "start"},
        {"action": "start", "id": "x", "type": 105, "fields": {"a": 1}},
        {"action": "start", "id": -1, "type": 105, "fields": [["/"]], "text": 5, "level": "x"},
        {"action": "start", "id": True, "type": 105.5, "fields": []},
        {"action": "result", "id": 1, "type": 105, "fields": ["1", None, -5, 1 << 80]},
        {"action": "result", "id": 1, "type": 106, "fields": [1]},
        {"action": "result", "id": 1, "type": 101, "fields": [1]},
        {"action": "stop", "id": None},
        {"action": "msg", "level": 0, "msg": None},
        {"action": ["start"]},
    ],
)
def test_what_is_no_message(event: Any) -> None:
    """It changes nothing that counts, and is no error."""
    activities = Activities()
    _read(activities, _start(1, _BUILDS), _build(2, "a"), _result(1, _PROGRESS, 0, 1, 1, 0))
    activities.read(b"@nix " + json.dumps(event).encode() + b"\n")
    assert activities.words().startswith("Building ") and activities.words().isprintable()


def test_names_are_those_of_store_paths() -> None:
    """Nothing else gets onto a terminal."""
    activities = Activities()
    for number, name in enumerate(("\x1b[2J", "a b", "x" * 300, "")):
        _read(activities, _build(number, name))
    assert activities.words() == "Building (no name), (no name), (no name) and 1 more (0 built, 0 left)"
