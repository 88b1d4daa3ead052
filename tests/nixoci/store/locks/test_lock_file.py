"""What lock files say, and what moves between two of them."""

from __future__ import annotations

import json
from typing import Any, Mapping

import pytest
from nixoci.errors import InvalidInputError
from nixoci.store.locks.lock_file import LockedInput, parse_lock
from nixoci.store.locks.moves import moves_between
from nixoci.store.locks.outdated import missing_inputs

HASH = "sha256-2ZW2milOcCIcSaMF8ptocF0u9dpKF1c6QmE/7NxEj5w="


def forge(revision: str, time: int, repository: str = "nixpkgs") -> dict[str, Any]:
    """Returns a node that is locked to a commit of a repository on GitHub."""
    return {
        "locked": {
            "type": "github",
            "owner": "NixOS",
            "repo": repository,
            "rev": revision,
            "narHash": HASH,
            "lastModified": time,
        },
        "original": {"type": "indirect", "id": repository},
    }


def node(**locked: Any) -> dict[str, Any]:
    """Returns a node that is locked to anything."""
    return {"locked": locked, "original": locked}


def lock(nodes: Mapping[str, Any], **inputs: Any) -> bytes:
    """Returns a lock file with the inputs of the flake itself."""
    root = {"inputs": inputs} if inputs else {}
    return json.dumps({"nodes": {"root": root, **nodes}, "root": "root", "version": 7}).encode()


#: What the nodes of a flake can be locked to, and how that is written.
SOURCES = {
    "github:NixOS/nixpkgs": forge("a" * 40, 0)["locked"],
    "git+ssh://git@example.org/a?dir=sub": {
        "type": "git",
        "url": "ssh://git@example.org/a",
        "dir": "sub",
    },
    "path:./sub": {"type": "path", "path": "./sub"},
    "https://example.org/x.tar.gz": {"type": "tarball", "url": "https://example.org/x.tar.gz"},
    "flake:nixpkgs": {"type": "indirect", "id": "nixpkgs"},
    "other": {"type": "other"},
}


@pytest.mark.parametrize("source", SOURCES)
def test_where_inputs_come_from(source: str) -> None:
    found = parse_lock(lock({"x": node(**SOURCES[source])}, x="x"))
    assert source == found["x"].source


def test_inputs_of_inputs() -> None:
    """Each by its shortest path, what is shared once, whatever goes round in circles."""
    shared = {**forge("b" * 40, 0, "shared"), "inputs": {"back": "tools", "own": ["base"]}}
    found = parse_lock(
        lock(
            {
                "tools": {**node(type="other"), "inputs": {"deep": "shared", "base": ["base"]}},
                "base": forge("a" * 40, 0),
                "shared": shared,
            },
            tools="tools",
            base="base",
            again="base",
            follows=["tools", "deep"],
        )
    )
    assert {path: locked.follows for path, locked in found.items()} == {
        **{"again": "", "base": "", "tools": "", "tools/deep": ""},
        **{"follows": "tools/deep", "tools/base": "base", "tools/deep/own": "base"},
    }
    assert found["again"] == found["base"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"<<<<<<< ours",
        lock({}, x="gone"),
        lock({"x": {}}, x="x"),
        lock({"x": node(path=1)}, x="x"),
        lock({}, x=[1]),
        lock({}, x=1),
        lock({"x": node(type="github", owner="o")}, x="x"),
        lock({}).replace(b"7", b"8"),
    ],
)
def test_what_is_no_lock_file(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        parse_lock(data)


def test_what_moves() -> None:
    """In words: the old and the new revision, or else hash, and the dates."""
    day = 24 * 3600
    old = lock(
        {
            **{"a": forge("a" * 40, 20_000 * day), "b": forge("b" * 40, 0), "gone": node(type="other")},
            **{"p": node(type="path", path="/x", narHash=HASH), "s": node(type="path", path="./s")},
        },
        **{"a": "a", "b": "b", "gone": "gone", "p": "p", "s": "s", "f": ["a"]},
    )
    new = lock(
        {
            **{"a": forge("c" * 40, 20_001 * day), "b": forge("b" * 40, 9), "new": node(type="other")},
            **{"p": node(type="path", path="/y", narHash=HASH), "s": node(type="path", path="./s", narHash=HASH)},
        },
        **{"a": "a", "b": "b", "new": "new", "p": "p", "s": "s", "f": ["b"]},
    )
    moves = [str(move) for move in moves_between(parse_lock(old), parse_lock(new))]
    assert moves == [
        f"updated a (github:NixOS/nixpkgs): {'a' * 40} (2024-10-04) → {'c' * 40} (2024-10-05)",
        "updated f: follows a → follows b",
        "removed gone: other",
        "added new: other",
        f"updated p: path:/x {HASH} → path:/y {HASH}",
        f"updated s (path:./s): no hash → {HASH}",
    ]
    assert moves_between(parse_lock(new), parse_lock(new)) == ()


@pytest.mark.parametrize("time", [-(2**63), -1, 0, 1, 2**63 - 1])
def test_times_that_are_no_dates(time: int) -> None:
    """Nor does a name reach the terminal that does something there."""
    moves = moves_between({}, {"\x1b[31mx": LockedInput("\u202e", "r", last_modified=time)})
    assert str(moves[0]) == "added \\x1b[31mx: \\u202e r"


def test_what_a_lock_lacks() -> None:
    names = b'["a", "b", "self"]'
    assert missing_inputs(names, b"") == ("a", "b")
    assert missing_inputs(names, lock({"x": node(type="other")}, a="x")) == ("b",)
    assert missing_inputs(names, lock({"x": node(type="other")}, a="x", b=["a"])) == ()
    for unknown in (b"", b"{}", b"[1, {}]"):
        assert missing_inputs(unknown, b"") == ()
    assert missing_inputs(names, b"no lock") == ()
