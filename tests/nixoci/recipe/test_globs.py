"""Globs mean what a slow function says, and take no time to match."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.recipe.globs import check_glob, glob_expression, matches_shell_pattern
from nixoci.recipe.layer import LayerRecipe

from tests.nixoci.recipe.glob_support import glob_matches, paths, patterns


def matches(path: str, *globs: str) -> bool:
    return re.compile(glob_expression(globs)).fullmatch(path) is not None


@pytest.mark.parametrize(
    "pattern, yes, no",
    [
        ("share/man", ["share/man"], ["share", "share/man/man1", "x/share/man", "share/mans"]),
        ("share/man/**", ["share/man/man1", "share/man/man1/ls.1"], ["share/man", "share"]),
        ("**", ["a", "a/b"], []),
        ("**/test", ["test", "a/test", "a/b/test"], ["atest", "a/test/b"]),
        ("**/test/**", ["test/a", "a/test/b/c"], ["test", "a/test"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b", "a/b/b"], ["a", "b", "ab", "a/b/c", "a/xb"]),
        ("**/a/**/b/**/c", ["a/b/c", "x/a/y/b/z/c", "a/a/b/b/c/c"], ["b/a/c", "a/c/b"]),
        ("*.py", ["x.py", ".py"], ["a/x.py", "x.pyc"]),
        ("**/*.py", ["x.py", "a/b/x.py"], ["a/x.pyc"]),
        ("a*b*c", ["abc", "axxbxxc", "abbcc"], ["ab", "acb", "a/b/c"]),
        ("?", ["a", "é", "."], ["", "ab"]),
        ("lib*/?.so", ["lib/a.so", "lib64/a.so"], ["lib/ab.so"]),
        (".*", [".a", "."], ["a"]),
        ("[ab]{c}+$^|(\\", ["[ab]{c}+$^|(\\"], ["a"]),
    ],
)
def test_examples(pattern: str, yes: list[str], no: list[str]) -> None:
    """Those of the documentation, and others."""
    check_glob("pattern", pattern)
    assert [path for path in yes + no if matches(path, pattern)] == yes


@settings(max_examples=1000, deadline=None)
@given(patterns, paths)
@example("**/a/**/a/b/**", "a/a/a/b/a")
@example("*a*ab/**/?", "aab/a")
def test_a_glob_means_what_the_slow_function_says(pattern: str, path: str) -> None:
    """Also where the first place for a part is not the only one."""
    check_glob("pattern", pattern)
    assert matches(path, pattern) == glob_matches(pattern, path)


@settings(max_examples=300, deadline=None)
@given(st.data(), patterns)
def test_a_path_that_was_made_for_a_glob_matches(data: st.DataObject, pattern: str) -> None:
    """Random paths match few patterns."""
    names: list[str] = []
    for number, name in enumerate(pattern.split("/")):
        if name == "**":
            least = int(number == pattern.count("/"))
            names += data.draw(st.lists(st.sampled_from(["a", "b", "ab"]), min_size=least, max_size=3))
        else:
            text = re.sub(r"\*", lambda _: data.draw(st.text("ab", max_size=3)), name)
            names.append(text.replace("?", "a") or "a")
    assert matches("/".join(names), pattern)


@given(st.lists(patterns, max_size=4), paths)
def test_of_several_globs_one_is_enough(globs: list[str], path: str) -> None:
    if globs:
        assert matches(path, *globs) == any(glob_matches(glob, path) for glob in globs)


@pytest.mark.parametrize(
    "pattern, path",
    [
        ("*a" * 40 + "c", "a" * 255),
        ("/".join(["*a" * 20 + "c"] * 8), "/".join(["a" * 255] * 8)),
        ("/".join(["**/a"] * 30) + "/c", "/".join(["a"] * 2000)),
        ("**/" + "/".join(["*a*a*"] * 10) + "/**/c", "/".join(["a" * 50] * 80)),
        ("/".join(["**/*a*b"] * 20), "/".join(["a" * 100] * 40)),
        ("/".join(["**/?/*"] * 20) + "/**/c", "/".join(["a"] * 2000)),
    ],
)
def test_no_glob_takes_long(pattern: str, path: str) -> None:
    """Where an expression that comes back to each star would take years."""
    compiled = re.compile(glob_expression([pattern]))
    start = time.process_time()
    assert compiled.fullmatch(path) is None
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "pattern, why",
    [
        ("", "it is empty"),
        ("/", "it must be relative"),
        ("/share", "it must be relative"),
        ("share/", "it must not end in a slash"),
        ("a//b", "two slashes"),
        (".", "match nothing"),
        ("..", "match nothing"),
        ("a/../b", "match nothing"),
        ("./a", "match nothing"),
        ("a**", "alone between slashes"),
        ("a/***/b", "alone between slashes"),
        ("**.py", "alone between slashes"),
        ("a\0", "NUL"),
    ],
)
def test_what_matches_nothing_is_refused(pattern: str, why: str) -> None:
    """By the check, and in a recipe from Python or JSON."""
    with pytest.raises(InvalidInputError, match=why):
        check_glob("pattern", pattern)
    with pytest.raises(InvalidInputError, match=why):
        LayerRecipe((), excludes=("a", pattern))
    document = {**json.loads(LayerRecipe(()).to_json()), "excludes": [pattern]}
    with pytest.raises(InvalidInputError, match=why):
        LayerRecipe.from_json(json.dumps(document).encode())


def test_excludes_are_a_set_in_the_recipe() -> None:
    """In any order, repeated: one key. Without any, the key is what it was."""
    assert b"excludes" not in LayerRecipe((), excludes=()).to_json()
    one = LayerRecipe((), excludes=("b/**", "a", "b/**"))
    assert json.loads(one.to_json())["excludes"] == ["a", "b/**"]
    assert one == LayerRecipe((), excludes=("a", "b/**")) == LayerRecipe.from_json(one.to_json())


@pytest.mark.parametrize("pattern", ("*a" * 40 + "*!", "*?" * 40 + "!", "*[a-z]" * 40 + "!", "*a*" * 40 + "!"))
def test_hostile_shell_patterns(pattern: str) -> None:
    """Patterns that had exponential time where each star is tried at each place."""
    assert not matches_shell_pattern(pattern, "a" * 300, "a" * 200 + "b")
    assert matches_shell_pattern(pattern, "a", "a" * 300 + "!")


@pytest.mark.parametrize("pattern", ("[b-a]", "x[!z-a]", "*[9-0]*"))
def test_shell_patterns_that_are_none(pattern: str) -> None:
    """They match nothing, or are an error of ours that names them, as the version of Python has it."""
    try:
        assert not matches_shell_pattern(pattern, "b", "x[!z-a]") or "!" in pattern
    except InvalidInputError as error:
        assert f"shell pattern {pattern!r} is not valid" in str(error)
