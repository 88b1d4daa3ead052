"""What Nix says with `--log-format internal-json`: its log as people read it, and how far its work is."""

from __future__ import annotations

import re

from nixoci.errors import InvalidInputError
from nixoci.json_input import parse_object

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

#: What lines begin with that are for programs.
_MARK = b"@nix "

#: Objects and lists in one another that such a line has at most.
_NESTED = 8

#: Kinds of activities and of results (libutil/logging.hh), the same in all versions.
_COPY_PATH, _REALISE, _COPY_PATHS, _BUILDS, _BUILD = _KINDS = 100, 102, 103, 104, 105
_LOG_LINE, _SET_EXPECTED, _PROGRESS, _POST_BUILD_LOG_LINE = 101, 106, 105, 107

#: Kinds that count those of other ones.
_COUNTED_BY = {_BUILD: _BUILDS, _COPY_PATH: _COPY_PATHS}

#: The level of what Nix says if it is not asked for more.
_INFO = 3

#: Activities that are known at a time. Nix has as many as it has jobs and connections.
_MOST = 10_000

#: A number that is as large counts for nothing.
_LARGEST = 1 << 62

#: Names that are shown; of the others, how many there are.
_SHOWN = 3

_MEGABYTE = 1_000_000

#: A store path, with its name.
_PATH = re.compile(r"/[0-9a-z]{32}-([0-9A-Za-z+._?=-]{1,211})$")

#: What Nix takes out of its log if no terminal reads that.
_ESCAPES = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|[^\\[])|[\r\a]")


class _Activity:
    """Something that Nix is about.

    :param name: of the store path that it makes.
    """

    def __init__(self, kind: int, name: str) -> None:
        self.kind = kind
        self.name = name
        self.done = self.expected = self.running = self.failed = 0
        self.expected_of: dict[int, int] = {}


class Activities:
    """What Nix is about, from the lines of its standard error, one after the other.

    :ivar steps: another number when something has begun or ended, and not only moved on by some bytes.

    Nix counts how many builds run, right after one has begun, and before it says that one has ended. Some versions (2.26
    among them) say that only when all is over: then it is not known which ones run, if several do.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._running: dict[int, _Activity] = {}
        # What has begun since Nix has counted.
        self._begun: Optional[int] = None
        self._bytes = 0

    def read(self, line: bytes) -> bytes:
        """Takes a line, and returns what of it is for people: lines with their ends, or nothing.

        What is no line for programs is all for people.
        """
        if not line.startswith(_MARK):
            return line
        try:
            event = parse_object("message of Nix", line[len(_MARK) :], _NESTED)
        except InvalidInputError:
            return line
        action, number = event.get("action"), _number(event.get("id"))
        if action == "start":
            self._start(number, event)
            return _said(event, "text", "...")
        if action == "stop":
            self._stop(number)
        if action == "result":
            return self._result(number, event)
        return _said(event, "msg") if action == "msg" else b""

    def words(self) -> str:
        """Returns what is being built and fetched, and how much is left, in one line; empty if nothing is."""
        parts = (self._part("Building", "built", _BUILD), self._fetched())
        return "; ".join(part for part in parts if part)

    def _start(self, number: int, event: dict[str, Any]) -> None:
        kind = _number(event.get("type"))
        if kind not in _KINDS or len(self._running) >= _MOST:
            return
        fields = event.get("fields")
        self._running[number] = _Activity(kind, _name(fields[0] if isinstance(fields, list) and fields else ""))
        self._begun = number
        if not self._of_kind(_COUNTED_BY.get(kind, kind)):
            self.steps += 1

    def _stop(self, number: int) -> None:
        activity = self._running.pop(number, None)
        if activity is not None:
            if activity.kind == _COPY_PATH:
                self._bytes += activity.done
            self.steps += 1

    def _forget_ended(self) -> None:
        """Forgets builds that must have ended by what Nix counts."""
        builds = [number for number, activity in self._running.items() if activity.kind == _BUILD]
        running = sum(activity.running for activity in self._of_kind(_BUILDS))
        if running == 1 and self._begun in builds:
            builds.remove(self._begun)
        elif running:
            return
        for number in builds:
            del self._running[number]

    def _of_kind(self, kind: int) -> list[_Activity]:
        return [activity for activity in self._running.values() if activity.kind == kind]

    def _result(self, number: int, event: dict[str, Any]) -> bytes:
        kind, fields = event.get("type"), event.get("fields")
        if not isinstance(fields, list):
            return b""
        if kind in (_LOG_LINE, _POST_BUILD_LOG_LINE) and fields and isinstance(fields[0], str):
            return _lines(fields[0] if kind == _LOG_LINE else f"post-build-hook: {fields[0]}")
        activity = self._running.get(number)
        if activity is None:
            return b""
        numbers = [_number(field) for field in fields[:4]]
        if min(numbers, default=-1) < 0:
            return b""
        if kind == _SET_EXPECTED and len(numbers) >= 2:
            activity.expected_of[numbers[0] % _MOST] = numbers[1]
        if kind == _PROGRESS and len(numbers) == 4:
            before = (activity.done, activity.expected, activity.running, activity.failed)
            activity.done, activity.expected, activity.running, activity.failed = numbers
            if activity.kind != _COPY_PATH and before != tuple(numbers):
                self.steps += 1
            if activity.kind == _BUILDS:
                self._forget_ended()
                self._begun = None
        return b""

    def _part(self, verb: str, participle: str, kind: int, more: str = "") -> str:
        """Returns how far activities of a kind are; empty if there are none."""
        names = [activity.name or "(no name)" for activity in self._of_kind(kind)]
        if not names:
            return ""
        counts = self._of_kind(_COUNTED_BY[kind])
        done, failed = sum(a.done for a in counts), sum(a.failed for a in counts)
        running = max(sum(a.running for a in counts), 1) if counts else len(names)
        left = max(sum(a.expected for a in counts) - done - running, 0)
        shown = ", ".join(names[:_SHOWN])
        if running < len(names):
            shown = f"{running}, the last begun {names[-1]}"
        elif len(names) > _SHOWN:
            shown += f" and {len(names) - _SHOWN} more"
        facts = f"{done} {participle}, {left} left" + (f", {failed} failed" if failed else "")
        return f"{verb} {shown} ({facts}{more})"

    def _fetched(self) -> str:
        size = self._bytes + sum(activity.done for activity in self._of_kind(_COPY_PATH))
        expected = sum(a.expected_of.get(_COPY_PATH, 0) for a in self._running.values())
        more = ""
        if expected:
            more = f"; {size / _MEGABYTE:.1f} of {max(expected, size) / _MEGABYTE:.1f} MB"
        return self._part("Fetching", "fetched", _COPY_PATH, more)


def _said(event: dict[str, Any], name: str, end: str = "") -> bytes:
    text, level = event.get(name), event.get("level")
    if not isinstance(text, str) or not text or (isinstance(level, int) and level > _INFO):
        return b""
    return _lines(text + end)


def _lines(text: str) -> bytes:
    return _ESCAPES.sub("", text).encode(errors="replace") + b"\n"


def _name(path: Any) -> str:
    """Returns the name of a store path; empty if it is none."""
    found: Optional[re.Match[str]] = _PATH.search(path) if isinstance(path, str) else None
    if found is None:
        return ""
    return found[1][: -len(".drv")] if found[1].endswith(".drv") else found[1]


def _number(value: Any) -> int:
    """Returns a number; -1 if it is none that counts."""
    return value if type(value) is int and 0 <= value < _LARGEST else -1
