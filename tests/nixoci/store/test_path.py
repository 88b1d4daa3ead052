"""Tests of `nixoci.store.path`."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.store.path import StorePath

DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
NAME_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-._?="
HASH_PART = "00bgd045z0d4icpbc2yyz4gx48ak44la"
HELLO = f"/nix/store/{HASH_PART}-hello-2.12"

HASH_PARTS = st.text(DIGITS, min_size=32, max_size=32)
NAMES = st.text(NAME_CHARACTERS, min_size=1, max_size=211).filter(
    lambda name: name.split("-")[0] not in (".", "..")
)


@given(HASH_PARTS, NAMES)
def test_what_nix_allows_is_parsed(hash_part: str, name: str) -> None:
    """Every path of Nix's grammar parses to itself, and its parts are those it was made of."""
    text = f"/nix/store/{hash_part}-{name}"
    path = StorePath.parse(text)
    assert (text, f"{hash_part}-{name}", name) == (path, path.base_name, path.name)


@given(HASH_PARTS, NAMES)
def test_a_base_name_is_parsed_to_the_absolute_path(hash_part: str, name: str) -> None:
    """The base name that newer Nix prints means the path in the store directory."""
    path = StorePath.parse_base_name(f"{hash_part}-{name}")
    assert StorePath.parse(f"/nix/store/{hash_part}-{name}") == path


@given(st.text(st.sampled_from(NAME_CHARACTERS + "/\n\0é١ "), max_size=60))
def test_only_the_grammar_is_parsed(tail: str) -> None:
    """Whatever follows the store directory, what is accepted has 32 digits, a dash and a name."""
    text = f"/nix/store/{HASH_PART}{tail}"
    try:
        path = StorePath.parse(text)
    except InvalidInputError:
        return
    assert tail[0] == "-" and len(tail) > 1 and set(tail) <= set(NAME_CHARACTERS)
    assert text == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/nix/store",
        "/nix/store/",
        HELLO + "\n",
        "\n" + HELLO,
        " " + HELLO,
        HELLO + "/",
        HELLO + "/bin/sh",
        HELLO + "\0",
        f"/nix/store/../store/{HASH_PART}-hello",
        f"/nix/store//{HASH_PART}-hello",
        f"//nix/store/{HASH_PART}-hello",
        f"nix/store/{HASH_PART}-hello",
        f"/gnu/store/{HASH_PART}-hello",
        f"/tmp/nix/store/{HASH_PART}-hello",
        f"/nix/store2/{HASH_PART}-hello",
        f"/nix/store/{HASH_PART}",
        f"/nix/store/{HASH_PART}-",
        f"/nix/store/{HASH_PART}_hello",
        f"/nix/store/{HASH_PART[1:]}-hello",
        f"/nix/store/0{HASH_PART}-hello",
        f"/nix/store/{'e' + HASH_PART[1:]}-hello",
        f"/nix/store/{HASH_PART.upper()}-hello",
        f"/nix/store/{'١' + HASH_PART[1:]}-hello",
        f"/nix/store/{HASH_PART}-hell٣",
        f"/nix/store/{HASH_PART}-héllo",
        f"/nix/store/{HASH_PART}-hello\udcff",
        f"/nix/store/{HASH_PART}-$(id)",
        f"/nix/store/{HASH_PART}-a b",
        f"/nix/store/{HASH_PART}-a*",
        f"/nix/store/{HASH_PART}-{'x' * 212}",
        f"/nix/store/{HASH_PART}-.",
        f"/nix/store/{HASH_PART}-..",
        f"/nix/store/{HASH_PART}-.-x",
        f"/nix/store/{HASH_PART}-..-x",
        None,
        1,
        HELLO.encode(),
        [HELLO],
    ],
)
def test_what_nix_does_not_allow_is_refused(text: object) -> None:
    """The error names the value, whatever its type."""
    with pytest.raises(InvalidInputError) as caught:
        StorePath.parse(text)
    assert text == caught.value.value
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("name", [".hidden", "...", "..x", ".x-y", "-", "--help", "x" * 211, "?="])
def test_odd_names_that_nix_allows_are_parsed(name: str) -> None:
    """Only a name whose first part is one dot or two could be taken for a relative path."""
    assert name == StorePath.parse(f"/nix/store/{HASH_PART}-{name}").name


@pytest.mark.parametrize(
    "text", ["", HELLO, f"{HASH_PART}-a/b", f"../{HASH_PART}-a", f"{HASH_PART}-a\n", None, 3]
)
def test_what_is_no_base_name_is_refused(text: object) -> None:
    """A base name has no slash, so it cannot lead out of the store directory."""
    with pytest.raises(InvalidInputError):
        StorePath.parse_base_name(text)


def test_a_store_path_is_a_string() -> None:
    """It sorts, hashes, serialises and pickles as the text that it is."""
    path = StorePath.parse(HELLO)
    assert HELLO == path and hash(HELLO) == hash(path)
    assert json.dumps(HELLO) == json.dumps(path)
    restored = pickle.loads(pickle.dumps(path))
    assert (StorePath, path) == (type(restored), restored)
