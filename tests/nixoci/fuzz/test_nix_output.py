"""What Nix prints, and what it is asked: evaluated JSON, dumps of its database, attribute paths, settings."""

from __future__ import annotations

import json
from pathlib import Path

from nixoci.batch.evaluate_many import described_values
from nixoci.errors import InvalidInputError
from nixoci.store.configuration import configuration_files, store_in
from nixoci.store.evaluate import read_derivation
from nixoci.store.messages.evaluation import UnknownOutputPathError
from nixoci.store.expression import attribute_names, described, described_in, selected
from nixoci.store.locks.lock_file import parse_lock
from nixoci.store.locks.moves import moves_between
from nixoci.store.locks.outdated import missing_inputs
from nixoci.store.messages.activities import Activities
from nixoci.store.messages.sources import relative_inputs
from nixoci.store.messages.trace import read_failure
from nixoci.store.nix import Nix
from nixoci.store.path import STORE_DIR
from nixoci.store.registration import parse_text, to_text

from tests.nixoci.fuzz.fuzz import fuzz

_PATH = f"{STORE_DIR}/{'0' * 32}-hello"
_DERIVATION = {
    **{"drvPath": f"{_PATH}.drv", "default": "out", "system": "x86_64-linux"},
    "outputs": {"out": _PATH, "dev": f"{_PATH}-dev"},
}
_PLACEHOLDER = f"/{'0' * 52}"


def test_evaluated_values() -> None:
    """A store that has nothing is asked for the reason of what is no path yet."""
    unknown = {**_DERIVATION, "outputs": {"out": _PLACEHOLDER}}
    nix = Nix("/nosuch", {}, known_store="local")
    fuzz(
        lambda data: read_derivation(nix, data, "default.nix", "a").to_json(),
        [json.dumps(one).encode() for one in (_DERIVATION, unknown)],
        1,
        (InvalidInputError, UnknownOutputPathError),
    )


def test_many_evaluated_values() -> None:
    """Among other lines that evaluation writes, and whatever is in the values."""
    items = [json.dumps({"number": n, "value": _DERIVATION}) for n in range(2)]
    lines = ["trace: other", f"trace: mark {items[0]}", "warning: x", f"trace: mark {items[1]}", ""]
    corpus = ("\n".join(lines).encode(), f"trace: mark {items[0]}\n".encode(), items[0].encode())

    def check(data: bytes) -> None:
        for text in (data.decode(errors="replace"), f"trace: mark {data.decode(errors='replace')}"):
            for number, _ in described_values(text, "mark ", 2):
                assert number in (0, 1)

    fuzz(check, corpus, 1)


def test_lines_in_values() -> None:
    """What Python takes for the end of a line, and JSON for a character, is no end of a value."""
    value = {**_DERIVATION, "system": "a\u2028b\u0085c\x0bd"}
    item = json.dumps({"number": 0, "value": value}, ensure_ascii=False)
    assert list(described_values(f"trace: mark {item}\n", "mark ", 1)) == [(0, value)]


def test_attribute_paths() -> None:
    """What is taken for one becomes an expression in which every text of it is quoted."""

    def check(data: bytes) -> None:
        attr = data.decode("utf-8", "replace").replace("\0", "")
        names = attribute_names(attr)
        assert "" not in names
        for expression in (selected("/x.nix", attr, "s"), described("/x.nix", [attr], "s", "m")):
            assert expression.count('"') % 2 == 0 or "\\" in expression
        described_in([attr], "m")

    fuzz(check, (b"packages.x86_64-linux.default", b'a."b.c".d', b"0.1", b".", b'"${x}"'), 1)


def test_dumps_of_the_database() -> None:
    """What is taken for one is written as the same."""
    first = "\n".join((_PATH, "0" * 64, "12", f"{_PATH}.drv", "1", _PATH, ""))
    second = "\n".join((f"{_PATH}-dev", "1" * 64, "0", "", "1", _PATH, ""))

    def check(data: bytes) -> None:
        found = parse_text(data)
        assert parse_text(to_text(found)) == found

    fuzz(check, (first.encode(), (first + second).encode(), b""), 1)


def test_lock_files() -> None:
    """Whatever is taken for one has moves that can be shown."""
    locked = {"type": "github", "owner": "o", "repo": "r", "rev": "a", "narHash": "h", "lastModified": 5}
    nodes = {
        "root": {"inputs": {"a": "a", "b": "b", "c": ["a", "d"]}},
        "a": {"locked": locked, "inputs": {"d": "b"}},
        "b": {"locked": {"type": "path", "path": "./b", "dir": "x"}, "inputs": {"back": "a"}},
    }
    valid = json.dumps({"nodes": nodes, "root": "root", "version": 7}).encode()

    def check(data: bytes) -> None:
        found = parse_lock(data)
        for moves in (moves_between({}, found), moves_between(found, parse_lock(valid))):
            assert all(str(move).isprintable() for move in moves)
        missing_inputs(data, valid)

    fuzz(check, [valid], 1, (InvalidInputError,))


def test_settings() -> None:
    """Any text is a file that configures Nix, or names some."""
    corpus = (
        b"store = daemon # x\n!include y\nextra-experimental-features = nix-command",
        b"nix (Nix) 2.18\nSystem configuration file: /etc/nix/nix.conf\nUser configuration files: /a:/b",
    )

    def check(data: bytes) -> None:
        text = data.decode(errors="replace")
        assert all(configuration_files(text)) and isinstance(store_in(text), str)

    fuzz(check, corpus, 1, ())


_OLD_TRACE = """\
warning: error: unable to download 'u': x; retrying in 300 ms
error: 'a' at /s/a.nix:1:2 called without required argument 'b'

       at «string»:6:10:

            5|   value
             |   ^

       … while evaluating the attribute 'a'

       at /s/default.nix:3:4:

            3| a = 1;
             |   ^
(use '--show-trace' to show detailed location information)
"""

_NEW_TRACE = """\
fatal: unable to access 'u'
error:
       … while calling anonymous lambda
         at «string»:1:1:
            1| _: (
             | ^

       … while evaluating the file '/s/lib/git.nix':

       error: Failed to fetch git repository 'u'
       at /s/lib/git.nix:1:1:
            1| x
             | ^
"""


def test_errors_and_traces() -> None:
    """No text of Nix is too odd; what is said to be in the sources is there."""
    assert read_failure(_OLD_TRACE, {"/s": ""}).place == "a.nix:1:2"
    assert read_failure(_NEW_TRACE, {"/s": "d/"}).place == "d/lib/git.nix:1:1"
    assert read_failure(_NEW_TRACE, {"/other": ""}).place == ""

    def check(data: bytes) -> None:
        failure = read_failure(data.decode(errors="replace"), {"/s": ""})
        assert "\0" not in failure.text + failure.place

    fuzz(check, (_OLD_TRACE.encode(), _NEW_TRACE.encode(), b"error:", b""), 1, ())


def test_messages_about_its_work() -> None:
    """Whatever they are, what is shown of them is a line that a terminal can show."""
    path = f"{STORE_DIR}/{'0' * 32}-hello-1.0.drv"
    events = (
        {"action": "start", "id": 1, "type": 104, "level": 0, "text": ""},
        {"action": "start", "id": 2, "type": 105, "level": 3, "text": f"building '{path}'", "fields": [path, "", 1, 1]},
        {"action": "result", "id": 1, "type": 105, "fields": [3, 17, 1, 1]},
        {"action": "start", "id": 3, "type": 100, "level": 3, "text": "copying", "fields": [path, "a", "b"]},
        {"action": "start", "id": 4, "type": 102, "level": 0, "text": ""},
        {"action": "result", "id": 4, "type": 106, "fields": [100, 5000]},
        {"action": "result", "id": 3, "type": 105, "fields": [300, 5000, 0, 0]},
        {"action": "result", "id": 2, "type": 101, "fields": ["a line"]},
        {"action": "msg", "level": 0, "msg": "error: x"},
    )
    lines = b"".join(b"@nix " + json.dumps(event).encode() + b"\n" for event in events)
    activities = Activities()
    assert b"a line\n" in b"".join(map(activities.read, lines.splitlines(keepends=True)))
    assert activities.words() == "Building hello-1.0 (3 built, 13 left, 1 failed); Fetching hello-1.0 (0 fetched, 0 left; 0.0 of 0.0 MB)"

    def check(data: bytes) -> None:
        activities = Activities()
        for line in data.splitlines(keepends=True):
            assert isinstance(activities.read(line), bytes)
            words = activities.words()
            assert words.isprintable() and len(words) < 3000

    fuzz(check, (lines,), 1, ())


def test_relative_inputs_of_lock_files(tmp_path: Path) -> None:
    """Whatever a lock file says, its inputs are directories below the flake, or none."""
    (tmp_path / "flake" / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    file = tmp_path / "flake" / "flake.lock"
    below = {"locked": {"type": "path", "path": "./b"}, "parent": ["a"]}
    nodes = {
        "a": {"locked": {"type": "path", "path": "./a"}, "inputs": {"b": "b"}},
        "b": below,
        "c": {"locked": {"type": "path", "path": "../outside"}, "parent": []},
        "root": {"inputs": {"a": "a", "c": "c", "d": ["a", "b"]}},
    }
    lock = json.dumps({"nodes": nodes, "root": "root", "version": 7}).encode()
    file.write_bytes(lock)
    found = [str(tmp_path / "flake" / "a"), str(tmp_path / "flake" / "a" / "b")]
    assert sorted(relative_inputs(str(tmp_path / "flake"))) == found

    def check(data: bytes) -> None:
        file.write_bytes(data)
        places = relative_inputs(str(tmp_path / "flake"))
        assert all(place.startswith(str(tmp_path / "flake" / "a")) for place in places)

    fuzz(check, (lock, b"{}"), 1, (), cost=4)
