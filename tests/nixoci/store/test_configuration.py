"""Tests of `nixoci.store.configuration`."""

from __future__ import annotations

from pathlib import Path

import pytest
from nixoci.store.configuration import (
    configuration_digest,
    configuration_files,
    origin_of_store,
    store_in,
)

from tests.nixoci.store.nix_support import nix, write_tree


@pytest.mark.parametrize("quote", ["", '"'])
def test_files_are_in_the_order_in_which_they_count(quote: str) -> None:
    """What is said later counts: first the system, then the user, whose first file is the last one."""
    text = (
        f"nix (Nix) 2.8.0\nSystem type: x\nSystem configuration file: {quote}/c/nix.conf{quote}\n"
        "User configuration files: /a:/b c\nStore directory: /nix/store\n"
    )
    assert ("/c/nix.conf", "/b c", "/a") == configuration_files(text)
    assert () == configuration_files("nix (Nix) 2.8.0")


def test_the_files_of_this_nix(tmp_path: Path) -> None:
    """It says which ones it reads, as the environment has it."""
    found = nix(tmp_path).configuration_files()
    assert found[0].endswith("/nix/nix.conf") and f"{tmp_path}/.config/nix/nix.conf" == found[-1]


@pytest.mark.parametrize(
    "text, store",
    [
        ("", ""),
        ("store = /x", "/x"),
        ("  store   =  /x   # which one", "/x"),
        ("store = /x\nstore = daemon\n", "daemon"),
        ("# store = /x", ""),
        ("store=/x", ""),
        ("store /x", ""),
        ("stores = /x\nkeep-store = 1", ""),
        ("store = /x y", "/x y"),
    ],
)
def test_the_store_in_a_file(text: str, store: str) -> None:
    """Words are those of Nix, which wants spaces around the sign."""
    assert store == store_in(text)


def test_the_digest_is_of_all_that_is_said(tmp_path: Path) -> None:
    """A change anywhere is another digest: a file, one that it includes, one that appears or goes."""
    write_tree(tmp_path, {"one": "include sub/two\n!include nosuch\n", "sub/two": "!include three"})
    files = [str(tmp_path / "one"), str(tmp_path / "absent")]
    seen = {configuration_digest(files)}
    for name, text in (("sub/three", "a = b"), ("sub/two", ""), ("nosuch", ""), ("absent", "x")):
        assert configuration_digest(files) in seen
        write_tree(tmp_path, {name: text})
        assert configuration_digest(files) not in seen
        seen.add(configuration_digest(files))
    # What nobody includes any longer does not count.
    write_tree(tmp_path, {"sub/three": "a = c"})
    assert configuration_digest(files) in seen
    (tmp_path / "one").unlink()
    assert configuration_digest(files) not in seen


def test_files_in_a_circle_have_an_end(tmp_path: Path) -> None:
    """Nix says what is wrong with them."""
    write_tree(tmp_path, {"one": "include one\ninclude one\n"})
    assert configuration_digest([str(tmp_path / "one")])


def test_where_the_store_comes_from(tmp_path: Path) -> None:
    """The strongest of all that say something is told."""
    write_tree(tmp_path, {"system": "store = /x", "user": "include more", "more": "store = /y"})
    system, user = str(tmp_path / "system"), str(tmp_path / "user")
    assert "" == origin_of_store([], {}, {})
    remote = {"NIX_REMOTE": "/r"}
    assert "the environment variable `NIX_REMOTE`" == origin_of_store([], remote, {})
    assert f"`store` in {system}" == origin_of_store([system], remote, {})
    assert f"`store` in {tmp_path}/more" == origin_of_store([system, user], remote, {})
    text = {**remote, "NIX_CONFIG": "a = b\nstore = /c"}
    told = "`store` in the environment variable `NIX_CONFIG`"
    assert told == origin_of_store([system, user], text, {})
    assert "the option `store`" == origin_of_store([system, user], text, {"store": "/o"})
