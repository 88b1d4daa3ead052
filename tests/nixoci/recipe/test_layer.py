"""Tests of `nixoci.recipe.layer`."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.recipe.layer import (
    DIALECTS,
    RECIPE_VERSION,
    ROOT,
    LayerRecipe,
    Owner,
    Permission,
    RecipeEntry,
)

from tests.nixoci.store.closure_support import info, store_path

NUMBER = st.none() | st.integers(0, 8**7 - 1)
USER = st.none() | st.from_regex(r"[A-Za-z0-9_.\-]{1,31}", fullmatch=True)
PERMISSIONS = st.builds(
    Permission,
    st.sampled_from(["/", ".*", "/etc/shadow", "/é\\n.*", "(?i)/A", ""]),
    mode=st.none() | st.integers(0, 0o7777),
    uid=NUMBER,
    gid=NUMBER,
    uname=USER,
    gname=USER,
    capabilities=st.lists(st.sampled_from(["cap_kill", "cap_bpf", "cap_net_raw"])).map(tuple),
)
OWNERS = st.just(Owner()) | st.builds(
    Owner, *[NUMBER.filter(lambda n: n is not None)] * 2, *[USER.filter(lambda n: n)] * 2
)


@st.composite
def recipes(draw: Any) -> LayerRecipe:
    entries = []
    for number in range(draw(st.integers(0, 4))):
        facts = info(f"p{number}")
        destination = draw(st.sampled_from([ROOT, str(facts.path)]))
        entries.append(RecipeEntry(facts.path, facts.nar_hash, destination))
    permissions = draw(st.lists(PERMISSIONS, max_size=3))
    dialect = draw(st.sampled_from(DIALECTS))
    excludes = draw(st.lists(st.sampled_from(["a/**", "**/é", "?"]), max_size=2))
    return LayerRecipe(
        tuple(entries), tuple(permissions), draw(OWNERS), dialect, tuple(excludes)
    )


def _entry(name: str, destination: str = "") -> RecipeEntry:
    facts = info(name)
    return RecipeEntry(facts.path, facts.nar_hash, destination or facts.path)


@given(recipes())
def test_json_round_trip(recipe: LayerRecipe) -> None:
    """What `to_json` writes is read back to an equal recipe with the same JSON form."""
    other = LayerRecipe.from_json(recipe.to_json())
    assert recipe == other and hash(recipe) == hash(other)
    assert recipe.to_json() == other.to_json()


@given(recipes(), recipes())
def test_recipes_that_differ_have_different_keys(one: LayerRecipe, other: LayerRecipe) -> None:
    """The JSON form is the cache key of the digest, so it tells apart what is not equal."""
    assert (one == other) == (one.to_json() == other.to_json())


@given(recipes())
def test_a_key_is_not_changed_by_use(recipe: LayerRecipe) -> None:
    """Asking whether permissions may match leaves no trace in the key, nor in equality."""
    before, twin = recipe.to_json(), LayerRecipe.from_json(recipe.to_json())
    for permission in recipe.permissions:
        permission.may_match("/etc")
    assert before == recipe.to_json()
    assert twin == recipe and hash(twin) == hash(recipe)


def test_the_key_holds_what_decides_the_bytes_and_nothing_else() -> None:
    """Paths, hashes and the layout's version; what is as usual is left out."""
    entry = _entry("a")
    expected = {
        "version": RECIPE_VERSION,
        "entries": [{"path": store_path("a"), "narHash": entry.nar_hash}],
    }
    text = json.dumps(expected, sort_keys=True, separators=(",", ":"))
    assert text.encode() == LayerRecipe((entry,)).to_json()
    assert text.encode() == LayerRecipe((entry,), (), Owner(0, 0, "root", "root")).to_json()
    assert text.encode() == LayerRecipe((entry,), dialect="oci").to_json()


def test_the_key_holds_all_that_is_unusual() -> None:
    """A destination, facts of permissions that are set, other owners than root, dialect, excludes."""
    permissions = (Permission("/x", mode=0o600, gname="g"),)
    recipe = LayerRecipe((_entry("a", ROOT),), permissions, Owner(uid=7), "nix2container", ("b", "a"))
    document = json.loads(recipe.to_json())
    assert [{"path": "/x", "mode": 0o600, "gname": "g"}] == document["permissions"]
    assert {"uid": 7, "gid": 0, "uname": "root", "gname": "root"} == document["owner"]
    assert ROOT == document["entries"][0]["destination"]
    assert "nix2container" == document["dialect"]
    assert ["a", "b"] == document["excludes"]


@given(recipes(), st.randoms())
def test_order_and_repetition_of_entries_make_no_difference(
    recipe: LayerRecipe, order: random.Random
) -> None:
    """One set of entries has one key."""
    entries = [*recipe.entries, *recipe.entries[:2]]
    order.shuffle(entries)
    other = replace(recipe, entries=tuple(entries))
    assert recipe == other and recipe.to_json() == other.to_json()
    document = json.loads(recipe.to_json())
    order.shuffle(document["entries"])
    assert recipe == LayerRecipe.from_json(json.dumps(document).encode())


def test_entries_are_sorted_by_destination() -> None:
    """What goes to the root is first, then all is in the order of the paths."""
    names = [_entry(name, destination) for name in "abcd" for destination in ("", ROOT)]
    entries = LayerRecipe(tuple(reversed(names))).entries
    places = [(entry.destination, entry.path) for entry in entries]
    assert places == sorted(places) and set(entries) == set(names)
    assert [ROOT] * 4 == [destination for destination, _ in places[:4]]


def test_a_path_cannot_have_two_hashes() -> None:
    """One store path is not two contents, wherever they go."""
    for destination in ("", ROOT):
        with pytest.raises(InvalidInputError, match="two NAR hashes"):
            LayerRecipe((_entry("a"), replace(_entry("a", destination), nar_hash="sha256-y")))


@pytest.mark.parametrize("dialect", ["", "OCI", "docker", None])
def test_an_unknown_dialect_is_refused(dialect: Any) -> None:
    """The error lists those that there are."""
    with pytest.raises(InvalidInputError, match="expected one of oci, nix2container"):
        LayerRecipe((), dialect=dialect)


def test_order_of_permissions_is_part_of_a_recipe() -> None:
    """The last of several permissions wins, so two orders are two recipes."""
    one, other = Permission("/a", mode=0o700), Permission("/.*", mode=0o755)
    assert LayerRecipe((), (one, other)).to_json() != LayerRecipe((), (other, one)).to_json()


def test_paths_are_those_of_the_entries() -> None:
    """They are what must be valid before the layer can be made."""
    recipe = LayerRecipe((_entry("b"), _entry("a", ROOT)))
    assert (store_path("a"), store_path("b")) == recipe.paths


GOOD: dict[str, Any] = {
    "version": RECIPE_VERSION,
    "entries": [{"path": store_path("a"), "narHash": "sha256-x"}],
}


@pytest.mark.parametrize("version", [0, RECIPE_VERSION + 1, "1", None, [], 1.5])
def test_another_version_is_refused(version: Any) -> None:
    """A recipe of another layout would have other bytes under the same digest."""
    with pytest.raises(InvalidInputError, match="layer recipe version"):
        LayerRecipe.from_json(json.dumps({**GOOD, "version": version}).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"entries": None},
        {"entries": {}},
        {"entries": [1]},
        {"entries": [{}]},
        {"entries": [{"path": store_path("a")}]},
        {"entries": [{"path": store_path("a"), "narHash": 1}]},
        {"entries": [{"path": "/etc", "narHash": "sha256-x"}]},
        {"entries": [{**GOOD["entries"][0], "destination": "/etc"}]},
        {"entries": [{**GOOD["entries"][0], "destination": store_path("b")}]},
        {"entries": [{**GOOD["entries"][0], "destination": ""}]},
        {"entries": [{**GOOD["entries"][0], "destination": 1}]},
        {"permissions": {}},
        {"permissions": ["/a"]},
        {"permissions": [{}]},
        {"permissions": [{"path": None}]},
        {"permissions": [{"path": 1}]},
        {"permissions": [{"path": "("}]},
        {"permissions": [{"path": "/a", "size": 1}]},
        {"permissions": [{"path": "/a", "mode": "0755"}]},
        {"permissions": [{"path": "/a", "mode": 1.5}]},
        {"permissions": [{"path": "/a", "mode": True}]},
        {"permissions": [{"path": "/a", "mode": -1}]},
        {"permissions": [{"path": "/a", "uid": 8**7}]},
        {"permissions": [{"path": "/a", "uid": 0.5}]},
        {"permissions": [{"path": "/a", "uname": 1}]},
        {"permissions": [{"path": "/a", "capabilities": None}]},
        {"permissions": [{"path": "/a", "capabilities": "cap_kill"}]},
        {"permissions": [{"path": "/a", "capabilities": ["cap_kill", 1]}]},
        {"permissions": [{"path": "/a", "capabilities": ["cap_nothing"]}]},
        {"dialect": "docker"},
        {"dialect": 1},
        {"excludes": "a"},
        {"excludes": [1]},
        {"excludes": ["/a"]},
        {"entries": [GOOD["entries"][0], {**GOOD["entries"][0], "narHash": "sha256-y"}]},
        {"owner": []},
        {"owner": {"name": "x"}},
        {"owner": {"uid": "0"}},
        {"owner": {"uid": None}},
        {"owner": {"gid": True}},
        {"owner": {"gname": None}},
    ],
    ids=json.dumps,
)
def test_a_hostile_recipe_is_refused(change: dict[str, Any]) -> None:
    """One value of the wrong type or out of bounds spoils the recipe."""
    LayerRecipe.from_json(json.dumps(GOOD).encode())
    with pytest.raises(InvalidInputError):
        LayerRecipe.from_json(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize(
    "path",
    [
        "(",
        "[",
        "*",
        "a**",
        "(?P<n>a)(?P<n>b)",
        "\\",
        "a{2,1}",
        "(?<=a*)b",
        "a{99999999999999999999}",
    ],
)
def test_what_is_no_regular_expression_is_refused(path: str) -> None:
    """The error names the expression and what Python says of it."""
    with pytest.raises(InvalidInputError) as caught:
        Permission(path)
    assert ("permission path", path) == (caught.value.what, caught.value.value)


def test_an_expression_nested_too_deeply_is_refused() -> None:
    """What Python's parser gives up on is an error like any other."""
    with pytest.raises(InvalidInputError, match="permission path"):
        Permission("(" * 5000 + ")" * 5000)


@pytest.mark.parametrize("path", ["/etc(?i)/x", "/a(?s).*", "(a(?x)b)"])
def test_flags_in_the_middle_are_refused(path: str) -> None:
    """Up to Python 3.10 they count for all of the expression, from 3.11 on they are an error."""
    with pytest.raises(InvalidInputError, match="flags"):
        Permission(path)


@pytest.mark.parametrize("mode", [-1, 0o10000, 99999])
def test_a_mode_out_of_bounds_is_refused(mode: int) -> None:
    """The error shows it in octal, as everybody writes modes."""
    with pytest.raises(InvalidInputError, match=f"permission mode '{oct(mode)}'"):
        Permission("/a", mode=mode)


@pytest.mark.parametrize(
    "name, value",
    [
        *((name, value) for name in ("uid", "gid") for value in (-1, 8**7)),
        *((n, v) for n in ("uname", "gname") for v in ("", "a b", "a:b", "é", "a\n", "x" * 32)),
    ],
)
def test_an_owner_that_no_tar_header_holds_is_refused(name: str, value: Any) -> None:
    """Numbers have seven octal digits, names 31 characters that need no quoting."""
    with pytest.raises(InvalidInputError) as caught:
        Permission("/a", **{name: value})
    assert (f"permission {name}", value) == (caught.value.what, caught.value.value)


def test_the_bounds_are_allowed() -> None:
    """The first and the last of each are values."""
    Permission("/a", mode=0, uid=0, gid=8**7 - 1, uname="x" * 31, gname="a")
    Permission("/a", mode=0o7777)


# A small grammar of regular expressions, over paths of a few names so that many of them match.

SEGMENTS = ["nix", "a", "ab", "b.c", "a+", "(a)", "a|b", "[a]", "{2}", "$", "^a", "\\", "é", " a"]
PATHS = st.lists(st.sampled_from(SEGMENTS), max_size=4).map(lambda names: "/" + "/".join(names))


@st.composite
def atoms(draw: Any) -> str:
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.sampled_from("/abcn ixé{}]$^.-"))
    if kind == 1:
        return "\\" + draw(st.sampled_from("/.+*?()[]{}|$^\\ -dDwWsSbBAZntx"))
    if kind == 2:
        return draw(st.sampled_from(["[ab]", "[^a]", "[/|]", "[]a]", "[a\\]]", "[a-c]", "[(]"]))
    return draw(st.sampled_from(["\\x2f", "\\u002f", "\\057", "\\N{SOLIDUS}", "a", "/", "nix"]))


REGEXES = st.recursive(
    atoms() | PATHS | PATHS.map(re.escape),
    lambda inner: (
        st.lists(inner, max_size=4).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map("|".join)
        | st.builds(
            "{}{}{}".format,
            st.sampled_from(["(", "(?:", "(?i:", "(?=", "(?!", "(?P<n>", "(?#", "(?<=", "(?x:"]),
            inner,
            st.just(")"),
        )
        | st.builds(
            "{}{}".format,
            inner,
            st.sampled_from(["*", "+", "?", "*?", "??", "{0}", "{,2}", "{2,}", "{2", "{a}", "{}"]),
        )
    ),
    max_leaves=6,
)


@settings(max_examples=800, deadline=None)
@given(
    st.sampled_from(["", "", "(?i)", "(?x)", "(?s)", "(?sx)"]),
    REGEXES,
    st.lists(PATHS, min_size=1, max_size=12),
)
def test_may_match_is_never_wrong_on_no(flags: str, regex: str, paths: list[str]) -> None:
    """If the expression matches a path at or below a destination, the answer for that is yes."""
    try:
        permission = Permission(flags + regex)
    except InvalidInputError:
        return
    for path in paths + [text.upper() for text in paths]:
        if re.fullmatch(permission.path, path):
            names = path.strip("/").split("/")
            for length in range(len(names) + 1):
                assert permission.may_match("/" + "/".join(names[:length]))


@given(PATHS, PATHS)
def test_may_match_of_a_literal_path_is_exact(path: str, destination: str) -> None:
    """An escaped path may match at its own place, above it, and below what it is a beginning of."""
    may_match = Permission(re.escape(path)).may_match(destination)
    inside = destination == ROOT or path == destination or path.startswith(destination + "/")
    assert inside <= may_match
    if not may_match:
        assert not destination.startswith(path)


@pytest.mark.parametrize(
    "regex, destination, expected",
    [
        ("/etc/passwd", "/", True),
        ("/etc/passwd", "/nix/store/x", False),
        ("/nix/store", "/nix/store/x", True),
        ("/nix/store/x/bin/.*", "/nix/store/x", True),
        ("/nix/store/x/bin/.*", "/nix/store/y", False),
        ("/nix/store/xy", "/nix/store/x", False),
        ("/nix/store/x(/.*)?", "/nix/store/x", True),
        ("/nix/store/[^/]+/bin", "/nix/store/x", True),
        ("/a|/nix/store/x", "/nix/store/x", True),
        ("(?i)/NIX/STORE/X", "/nix/store/x", True),
        (r"/nix/store/x\.1/.*", "/nix/store/x.1", True),
        (r"/nix/store/x\.1/.*", "/nix/store/x-1", False),
        ("/nix/store/x?y", "/nix/store/y", True),
        (r"/nix/store/\w/bin", "/nix/store/x", True),
        (r"/nix\x2fstore/x", "/nix/store/x", True),
        (r"/\157pt/x", "/opt/x", True),
        ("/nix/store/x{0}y", "/nix/store/y", True),
    ],
)
def test_may_match_of_common_expressions(regex: str, destination: str, expected: bool) -> None:
    """A permission is kept out of the layers that it clearly says nothing of."""
    assert expected == Permission(regex).may_match(destination)
