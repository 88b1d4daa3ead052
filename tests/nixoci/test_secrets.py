"""Tests of `nixoci.secrets`."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.registry.errors import RegistryError, printable
from nixoci.secrets import REMOVED, add_secrets, without_secrets


@given(st.text(min_size=4), st.text(), st.text())
def test_any_secret_is_removed(secret: str, before: str, after: str) -> None:
    secret = f"unlikely-{secret}"
    add_secrets(secret)
    assert secret not in without_secrets(before + secret + after)


@pytest.mark.parametrize("secret", ("", "a", "ab", "tag"))
def test_what_is_too_short_is_left(secret: str) -> None:
    """What would be missing in words that everybody knows tells what it is."""
    add_secrets(secret)
    assert without_secrets("a tab and a tag") == "a tab and a tag"


@pytest.mark.parametrize(
    "text",
    ("p@ss/wörd 1+", "p%40ss%2Fw%C3%B6rd%201%2B", "p%40ss%2Fw%C3%B6rd+1%2B"),
    ids=("plain", "url", "form"),
)
def test_other_spellings(text: str) -> None:
    add_secrets("p@ss/wörd 1+")
    assert without_secrets(f"a={text}&b") == f"a={REMOVED}&b"


def test_a_secret_that_begins_with_another() -> None:
    add_secrets("sesame-1", "sesame-1-2", "", "sesame-1-2-3")
    assert (
        without_secrets("sesame-1-2-3 sesame-1-2 sesame-1 sesame")
        == f"{REMOVED} {REMOVED} {REMOVED} sesame"
    )


def test_no_part_of_a_secret_is_left_where_text_is_cut() -> None:
    add_secrets("sesame-open-the-door")
    assert printable("x" * 10 + "sesame-open-the-door", 18) == "x" * 10 + REMOVED
    assert "sesame" not in str(RegistryError("host", "It names sesame-open-the-door.example."))


def test_many_secrets_of_many_threads() -> None:
    """Those that were used last are known, and text without any is left alone."""
    threads = [
        threading.Thread(target=lambda n=n: [add_secrets(f"secret-{n}-{i}") for i in range(500)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
        assert without_secrets("of no interest") == "of no interest"
    for thread in threads:
        thread.join()
    add_secrets("the-last-secret")
    assert without_secrets("the-last-secret") == REMOVED
