"""Tests of `nixoci.recipe.expressions` against `re`."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.recipe import expressions
from nixoci.recipe.expressions import expression

#: Parts of expressions; most sequences of them are some.
PARTS = (
    *("a", "b", "/", ".", r"\.", "[ab]", "[^/]", "[]a]", "[^]b]", r"[a-c\]]", r"[\d-]", "-", "]", "}", "{", "A"),
    *("(", "(?:", "(?P<x>", ")", ")", ")", "|", "*", "+", "?", "*?", "+?", "??"),
    *("{2}", "{1,2}", "{,2}", "{0,}", "{,}"),
    *("^", "$", r"\A", r"\Z", r"\d", r"\w", r"\S", r"\-", r"\n", "\n", r"\x61", r"\u0062", r"\141", "é"),
    *("(?!", "(?=", "(?<=", r"\b", r"\1", r"\N{DIGIT ONE}"),
)
TEXTS = st.text(st.sampled_from("aabA/.\n1-}{]é\udce9"), max_size=7)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(("", "", "(?s)", "(?i)", "(?a)", "(?si)", "(?m)", "(?x)")),
    st.lists(st.sampled_from(PARTS), max_size=9),
    st.lists(TEXTS, max_size=8),
)
def test_same_as_re(flags: str, parts: list[str], texts: list[str]) -> None:
    """Whatever is accepted matches what `re` matches; what `re` refuses is refused."""
    text = flags + "".join(parts)
    with warnings.catch_warnings():
        # Of sets in sets, which no version of Python has.
        warnings.simplefilter("ignore")
        try:
            compiled = re.compile(text)
        except re.error:
            with pytest.raises(InvalidInputError):
                expression(text)
            return
        try:
            matches = expression(text)
        except InvalidInputError:
            return
        for each in texts:
            assert bool(compiled.fullmatch(each)) == bool(matches(each)), (text, each)


@pytest.mark.parametrize(
    "text,inside",
    (
        ("(([0-9a-z-]+)+)+!", "a" * 4000),
        ("(a|aa)+!", "a" * 4000),
        ("(a*)*b", "a" * 4000),
        ("(x+x+)+y", "x" * 4000),
        ("(.*a){20}!", "a" * 4000),
        ("(a?){30}a{30}!", "a" * 60),
        (".*.*.*.*.*.*!", "a" * 4000),
        ("/nix/store/[^/]+-a.*/b.*/c.*/d.*!", "/nix/store/" + "-a/b/c/d" * 500),
        ("(?i)(A|a|aa?)*!", "aA" * 2000),
        (r"(\d|1)*(1|\d)*$|(/(.*/)*)*", "1" * 4000 + "/"),
    ),
    ids=range(10),
)
def test_hostile_expressions(text: str, inside: str) -> None:
    """Expressions for which `re` needs longer than anybody waits are matched all the same."""
    matches = expression(text)
    assert not matches(inside) and not matches(inside + "\n")
    shorter = inside[:9] + "!"
    # Where `re` comes to an end it says the same.
    assert bool(re.fullmatch(text, shorter)) == bool(matches(shorter))


@pytest.mark.parametrize(
    "text,path,other",
    (
        ("/etc/shadow", "/etc/shadow", "/etc/shadow-"),
        (r"/nix/store/[^/]+/bin/.*", "/nix/store/abc/bin/x", "/nix/store/a/b/bin/x"),
        ("/data(/.*)?", "/data", "/database"),
        ("^/tmp$", "/tmp", "/tmp/x"),
        (
            "/nix/store/[0-9a-z]{32}-(bash|zsh).*/bin/.*sh",
            f"/nix/store/{'a' * 32}-zsh-5/bin/zsh",
            "/nix/store/a-zsh/bin/zsh",
        ),
        ("(?i).*/readme.*", "/x/README.md", "/x/READM"),
        ("/a(?!b).*", "/ac", "/abc"),
        (r".*/(.)\1", "/x/aa", "/x/ab"),
        (r"/.*\bbin\b.*", "/usr/bin/x", "/usr/sbin/x"),
        (r"(?x) /opt  # of the vendor", "/opt", "/opt/x"),
        (r"/(?i:OPT)(/.*)?", "/opt/x", "/op"),
        (r"/a$\n?", "/a", "/b"),
    ),
)
def test_old_spellings(text: str, path: str, other: str) -> None:
    """What people write means what it meant."""
    matches = expression(text)
    assert matches(path) and not matches(other)


@pytest.mark.parametrize(
    "text,why",
    (
        ("(", "unterminated"),
        ("a**", "repeat"),
        ("a(?i)b", ""),
        ("a{99999999999}", ""),
        ("a{" + "9" * 5000 + "}", ""),
        (r"((?=a)a+)+!", r"beside '\(\?'"),
        (r"(a+)\1*(b|c)+", "beside"),
        (r".*.*.*\b", "beside"),
        (r"(?!a)(b?b?b?b?)", "beside"),
        (r"(?m)(^a+)*", "beside"),
        (r"((a$)\n*)*", "beside '[$]'"),
        ("(.{0,255}){9}", "over 2000"),
        ("((a{40}){40}){40}(b*)*", "over 2000"),
        ("|".join(f"(b{number}*)*" for number in range(900)), "over 2000"),
    ),
    ids=range(14),
)
def test_what_is_refused(text: str, why: str) -> None:
    """No expression, one that may take long, or one that takes too much room."""
    with pytest.raises(InvalidInputError, match=f"permission path.*{why}"):
        expression(text)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "text,path,other",
    (
        ("/[[:alpha:]]+", "/a]", "/b"),
        ("(/[[a]*)*[+--]", "/[a/[-", "/b-"),
        ("/[a&&b]", "/&", "/c"),
        ("/[a||b]", "/|", "/c"),
        ("/[a~~b]", "/~", "/c"),
    ),
)
def test_nothing_is_warned_of(text: str, path: str, other: str) -> None:
    """Sets that may be something else in later versions of Python are what they are in this one."""
    expression.cache_clear()
    re.purge()
    matches = expression(text)
    assert matches(path) and not matches(other)


@pytest.mark.filterwarnings("error")
def test_own_expressions_are_compiled_without_a_warning() -> None:
    """Those of the module, on each version of Python."""
    own = [value for value in vars(expressions).values() if isinstance(value, re.Pattern)]
    own += [value.__self__ for value in vars(expressions).values() if hasattr(value, "__self__")]
    own = [value for value in own if isinstance(value, re.Pattern)]
    assert len(own) >= 4
    re.purge()
    for compiled in own:
        re.compile(compiled.pattern, compiled.flags)


def test_what_was_seen_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An automaton forgets its states when there are many, and goes on."""
    monkeypatch.setattr(expressions, "_MOST_STEPS", 50)
    text = "(.?.?[ab]*)*(a.{6}|b)+"
    expression.cache_clear()
    matches = expression(text)
    states = matches.__self__._states  # type: ignore[attr-defined]
    compiled = re.compile("(?:.*(?:a.{6}|b))")
    for number in range(3000):
        path = "".join("abc/"[number >> shift & 3] for shift in range(0, 24, 2))
        assert bool(compiled.fullmatch(path)) == bool(matches(path))
        assert len(states) <= 51


def test_automata_are_shared() -> None:
    """A layer asks for each of its files, of each layer with the same permission."""
    assert expression("(/a+)*(/b+)*") is expression("(/a+)*(/b+)*")
