"""Standard error of an evaluation with `--show-trace` → the error, with those calls around it that matter."""

from __future__ import annotations

import re
from dataclasses import dataclass

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Sequence

#: A call or attribute in a trace, which the lines after it belong to.
_FRAME = re.compile(r"^ {7}… ", re.MULTILINE)

#: Newer versions of Nix write the error after the trace.
_INNER_ERROR = re.compile(r"^ {7}(?=error:)", re.MULTILINE)

#: Stands for the directory of the sources, as nothing else does.
_HERE = "\0"

#: A place in the sources, and a file of which Nix does not say where it was.
_PLACE = re.compile(r"at \0([^\n«»\0]+?):(\d{1,9}):(\d{1,9})")
_FILE = re.compile("the file '\0([^'\n\0]+)'")

#: Any place, and lines of the file around it.
_ANY_PLACE = re.compile(r"\bat [^\s:«]+:\d{1,9}:\d{1,9}")
_EXCERPT = re.compile(r"\n(?: *\n)?(?: *\d*\|[^\n]*(?:\n|$))+")

#: Of an expression that is ours, so that it says nothing of the sources.
_OURS = re.compile(r"\n *at «[^\n]*(?:\n(?: *\n)?(?: *\d*\|[^\n]*(?:\n|$))+)?")

#: Advice that is about a command line that nobody has typed, and attempts after which there was another one.
_ADVICE = re.compile(
    r"^\(use '--show-trace'[^\n]*\n?|^ *\(stack trace truncated[^\n]*\n?| \(use '--impure'[^)\n]*\)",
    re.MULTILINE,
)
_RETRIES = re.compile(r"^[^\n]*; retrying in [^\n]*\n?", re.MULTILINE)

#: What git and ssh say before Nix says that they have failed.
_SAID_BEFORE = re.compile(
    r"^(?:fatal: |remote: |ssh: |Host key |Permission denied|[^\n:]+: Permission denied|Connection )[^\n]*",
    re.MULTILINE,
)
_BY_GIT = re.compile("git", re.IGNORECASE)

#: So many calls are shown, the innermost ones.
_MOST_FRAMES = 3

#: So many lines of other programs.
_MOST_SAID = 5


@dataclass(frozen=True)
class FailedEvaluation:
    """What Nix says of an evaluation that failed.

    :param text: the error, where it is, and the innermost calls around it, innermost first. Begins with `error:`
        unless Nix has not said one. Paths in the sources are relative to their root.
    :param place: the innermost place in the sources, as `file:line:column`, or `file, from file:line:column` where Nix
        knows no line of the innermost file; empty if Nix names none.
    """

    text: str
    place: str


def read_failure(stderr: str, sources: Mapping[str, str]) -> FailedEvaluation:
    """Reads what Nix wrote.

    :param sources: directories that have the sources, and what they are called from the root of the sources: empty, or
        with a slash at the end.
    """
    text = _RETRIES.sub("", stderr.replace(_HERE, ""))
    begin = re.search("^error:", text, re.MULTILINE) or re.search("error:", text)
    before = text[: begin.start()] if begin else ""
    text = _ADVICE.sub("", text[begin.start() :] if begin else text)
    for directory, name in sources.items():
        text = text.replace(f"{directory}/", _HERE + name)
    error, frames = _split(text)
    frames = [frame for frame in frames if "at «" not in frame and frame.strip() != "… from call site"]
    shown = _OURS.sub("\n", error).rstrip()
    place = _place((error, *frames))
    here = next((frame for frame in frames if _HERE in frame), None)
    if here is not None and _ANY_PLACE.search(shown) is None:
        # There is no line of a file to be seen yet.
        shown += "\n" + here.rstrip()
        frames.remove(here)
        here = None
    kept = frames[:_MOST_FRAMES]
    if here is not None and here not in kept:
        kept.append(here)
    said = _SAID_BEFORE.findall(before)[-_MOST_SAID:] if _BY_GIT.search(error) else ()
    lines = [shown, *map(_in_one_line, kept), *(f"       {line}" for line in dict.fromkeys(said))]
    return FailedEvaluation("\n".join(lines).replace(_HERE, ""), place)


def _split(text: str) -> tuple[str, list[str]]:
    """Returns the error, and what is around it, the innermost first."""
    first, *frames = (text[a:b] for a, b in _parts(text))
    if first.strip() != "error:" or not frames:
        return first, frames
    # Newer versions begin with the outermost call.
    found = _INNER_ERROR.search(frames[-1])
    if found is None:
        return text, []
    error = frames[-1][found.end() :]
    frames[-1] = frames[-1][: found.start()]
    return error, frames[::-1]


def _parts(text: str) -> list[tuple[int, int]]:
    starts = [0, *(found.start() for found in _FRAME.finditer(text))]
    return list(zip(starts, [*starts[1:], len(text)]))


def _place(parts: Sequence[str]) -> str:
    """Returns the first place in the sources of an error and its frames."""
    file = ""
    for part in parts:
        found = _PLACE.search(part)
        if found is not None:
            place = ":".join(found.groups())
            return f"{file}, from {place}" if file and file != found[1] else place
        named = _FILE.search(part)
        if named is not None and not file:
            file = named[1]
    return file


def _in_one_line(frame: str) -> str:
    """Returns a call with its place, without lines of the file."""
    text = _EXCERPT.sub("\n", frame).rstrip()
    return "       " + " ".join(text.rstrip(":").split())
