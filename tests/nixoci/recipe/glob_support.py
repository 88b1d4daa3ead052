"""Glob patterns, their meaning as a slow function, and strategies of them."""

from __future__ import annotations

from functools import lru_cache

from hypothesis import strategies as st


def glob_matches(pattern: str, path: str) -> bool:
    """Whether a pattern matches a whole path, by trying everything."""
    return _names_match(tuple(pattern.split("/")), tuple(path.split("/")))


def _names_match(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern == ("**",):
        return bool(path)
    if pattern[0] == "**":
        return any(_names_match(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and _name_matches(pattern[0], path[0]) and _names_match(pattern[1:], path[1:])


@lru_cache(maxsize=None)
def _name_matches(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_name_matches(pattern[1:], name[start:]) for start in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and _name_matches(pattern[1:], name[1:])


_parts = st.sampled_from(["*", "?", "a", "b", ".", "é", "[", "\\", "\n", "a*", "*b"])
_names = st.lists(_parts, min_size=1, max_size=5).map("".join).filter(
    lambda name: "**" not in name and name not in (".", "..")
)
#: Patterns that are valid, of few different characters, so that they match something.
patterns = st.lists(st.just("**") | _names, min_size=1, max_size=6).map("/".join)
paths = st.lists(st.text("ab.é[\\\n", min_size=1, max_size=5), min_size=1, max_size=6).map("/".join)
