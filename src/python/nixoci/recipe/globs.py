"""Glob patterns of paths: `*` and `?` within a name, `**` over directories, and nothing else.

And the shell patterns of names.
"""

from __future__ import annotations

import re
from itertools import count

from nixoci.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ANY_NAMES = "**"


def check_glob(what: str, pattern: str) -> None:
    """Checks that a pattern can match a path below a directory.

    :raises InvalidInputError: it cannot; `what` says what the pattern is.
    """
    names = pattern.split("/")
    why = ""
    if not pattern:
        why = "it is empty"
    elif pattern.startswith("/"):
        why = "it must be relative"
    elif pattern.endswith("/"):
        why = "it must not end in a slash; `/**` stands for all that is in a directory"
    elif "" in names:
        why = "two slashes follow each other"
    elif not {".", ".."}.isdisjoint(names):
        why = "`.` and `..` match nothing"
    elif "\0" in pattern:
        why = "no name has a NUL"
    elif any(_ANY_NAMES in name and name != _ANY_NAMES for name in names):
        why = "`**` stands for whole directories, so it must be alone between slashes"
    if why:
        raise InvalidInputError(what, pattern, why)


def glob_expression(patterns: Iterable[str]) -> str:
    """Returns a regular expression that matches a whole path where one of the patterns does.

    - `*` is any number of characters of a name, none included; `?` is one.
    - `**` is any number of names. At the end of a pattern it is at least one, so that `a/**` is all
      that is in `a`, and not `a`.
    - Anything else is itself, also `[`, `{`, a backslash, and a dot at the start of a name.

    What precedes the last star of a name is matched at the first place where it can be, and so is what
    stands between two `**`: if there is any match, there is one like that. The expression never comes
    back to such a place, so its time grows with the length of the path times that of the pattern.

    :param patterns: checked, see `check_glob`.
    """
    numbers = count()
    return "(?s:" + "|".join(_expression(pattern, numbers) for pattern in patterns) + ")"


def matches_shell_pattern(pattern: str, *names: str) -> bool:
    """Returns whether a shell pattern (`*`, `?`, `[…]`) matches one of the names.

    The time grows with the length of the name times that of the pattern.

    :raises InvalidInputError: no such pattern (`[z-a]`; later versions of Python let it match nothing).
    """
    # The matcher is only needed by who gives patterns.
    from fnmatch import fnmatchcase

    try:
        return any(fnmatchcase(name, pattern) for name in names)
    except re.error as error:
        raise InvalidInputError("shell pattern", pattern, str(error)) from None


def _expression(pattern: str, numbers: Iterator[int]) -> str:
    # The names between two `**`, and empty lists where the pattern starts or ends with one.
    runs: list[list[str]] = [[]]
    for name in pattern.split("/"):
        if name != _ANY_NAMES:
            runs[-1].append(name)
        elif runs[-1] or len(runs) == 1:
            runs.append([])
    first, *others = ("/".join(_name(name, numbers) for name in run) for run in runs)
    if not others:
        return first
    *middle, last = others
    parts = [f"{first}/" if first else ""]
    parts += [_once(f"(?:.*?/)??{run}/", numbers) for run in middle]
    parts.append(f"(?:.*/)?{last}" if last else ".+")
    return "".join(parts)


def _name(name: str, numbers: Iterator[int]) -> str:
    first, *others = (re.escape(text).replace(r"\?", "[^/]") for text in name.split("*"))
    if not others:
        return first
    *middle, last = others
    return first + "".join(_once(f"[^/]*?{text}", numbers) for text in middle) + f"[^/]*{last}"


def _once(expression: str, numbers: Iterator[int]) -> str:
    """Matches what `expression` matches first, and nothing else if that turns out to be of no use."""
    # Older versions of Python have no atomic groups. What a lookahead found is not changed either.
    group = f"g{next(numbers)}"
    return f"(?=(?P<{group}>{expression}))(?P={group})"
