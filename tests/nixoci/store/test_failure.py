"""Tests of `nixoci.store.messages.failure`: why the Nix of this machine could not evaluate something."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nixoci.store.messages.evaluation import (
    EvaluationError,
    NoSuchAttributeError,
    UndeclaredSourceError,
)

from tests.nixoci.store.evaluate_support import ONE, evaluated, file_with, flake_with
from tests.nixoci.store.nix_support import SYSTEM, write_tree


@pytest.mark.parametrize("source", ["default.nix", "flake.nix"])
@pytest.mark.parametrize("attr", ["nosuch", "one.nosuch.deeper", '"on e"'])
def test_no_such_attribute(tmp_path: Path, source: str, attr: str) -> None:
    """The error has the source, the attribute and what Nix says of it."""
    make = flake_with if source == "flake.nix" else file_with
    with pytest.raises(NoSuchAttributeError) as caught:
        evaluated(tmp_path, make(tmp_path / "s", f"one = {ONE};"), attr, source)
    assert (source, attr) == (caught.value.source, caught.value.attr)
    assert f"could not evaluate {attr} of {source}" in str(caught.value)


@pytest.mark.parametrize("value", ["1", '"text"', "{ }", "x: x", "[ 1 ]", '{ type = "other"; }'])
def test_what_is_no_derivation_is_refused(tmp_path: Path, value: str) -> None:
    """The error says so, instead of what Nix makes of it."""
    with pytest.raises(NoSuchAttributeError, match="^Nix could .*\nvalue is not a derivation.$"):
        evaluated(tmp_path, file_with(tmp_path / "s", f"value = {value};"), "value")


@pytest.mark.parametrize(
    "value, expected",
    [
        ('throw "why it fails"', "why it fails"),
        ('{ type = throw "why it fails"; }', "why it fails"),
        (
            'derivation { name = "x"; inherit system; builder = throw "why it fails"; }',
            "why it fails",
        ),
        ("import <nixpkgs> { }", "nixpkgs"),
        ("1 + { }", "set"),
        ("let x = x; in x", "infinite recursion"),
    ],
)
def test_an_evaluation_error_is_that_of_nix(tmp_path: Path, value: str, expected: str) -> None:
    """Nix's own message is shown, also where it quotes the code that asked."""
    with pytest.raises(EvaluationError) as caught:
        evaluated(tmp_path, file_with(tmp_path / "s", f"value = {value};"), "value")
    assert EvaluationError is type(caught.value)
    assert caught.value.message.startswith("error:") and expected in caught.value.message
    assert caught.value.message in str(caught.value)


def test_a_syntax_error_is_that_of_nix(tmp_path: Path) -> None:
    """The message says where, relative to the sources and not to the machine."""
    root = write_tree(tmp_path / "s", {"sub/a.nix": "{ a = ; }"})
    with pytest.raises(EvaluationError, match="syntax error") as caught:
        evaluated(tmp_path, root, "a", "sub/a.nix")
    assert "at sub/a.nix:1:" in caught.value.message
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    "expression, path",
    [
        ("import ./hidden.nix", "hidden.nix"),
        ("import ./sub/hidden.nix", "sub/hidden.nix"),
        ("builtins.readFile ./hidden.txt", "hidden.txt"),
        ("builtins.readFile /etc/hostname", "/etc/hostname"),
        ("builtins.readDir /etc", "/etc"),
        ("builtins.path { path = /etc; name = ''x''; }", "/etc"),
    ],
)
@pytest.mark.parametrize("source", ["default.nix", "flake.nix"])
def test_an_undeclared_source_is_named(
    tmp_path: Path, source: str, expression: str, path: str
) -> None:
    """A file that is not below the root cannot be read; below it, the error has its own path."""
    make = flake_with if source == "flake.nix" else file_with
    root = write_tree(make(tmp_path / "s", f"a = {expression};"), {"sub/other.nix": ""})
    with pytest.raises(UndeclaredSourceError) as caught:
        evaluated(tmp_path, root, "a", source)
    # Outside of the root, Nix 2.26 names the directory that may not be entered.
    names = (path,) if path[0] != "/" else (path, os.path.dirname(path))
    assert caught.value.path in names and source == caught.value.source


def test_a_file_above_the_root_is_invisible(tmp_path: Path) -> None:
    """It exists, and is outside of what was declared."""
    write_tree(tmp_path, {"above.nix": "1"})
    with pytest.raises(UndeclaredSourceError) as caught:
        evaluated(tmp_path, file_with(tmp_path / "s", "a = import ../above.nix;"), "a")
    assert str(tmp_path / "above.nix") == caught.value.path


def test_a_flake_sees_its_own_directory_only(tmp_path: Path) -> None:
    """What lies above it is outside, although it is below the root; what lies below is not."""
    root = flake_with(tmp_path / "s", f"up = import ../up.nix; one = import ./in/one.nix;", "sub")
    write_tree(root, {"up.nix": "1", "sub/in/one.nix": f'let system = "{SYSTEM}"; in {ONE}'})
    assert evaluated(tmp_path, root, "one", "sub/flake.nix").outputs
    with pytest.raises(UndeclaredSourceError):
        evaluated(tmp_path, root, "up", "sub/flake.nix")


@pytest.mark.parametrize(
    "directory, path, expected",
    [
        ("sub", "../up.nix", "up.nix"),
        ("sub/deep", "../beside/up.nix", "sub/beside/up.nix"),
        ("sub/deep", "../../beside/up.nix", "beside/up.nix"),
        ("a/b/c/d", "../../../e/up.nix", "a/e/up.nix"),
    ],
)
def test_what_is_above_a_flake_has_its_place_in_the_sources(
    tmp_path: Path, directory: str, path: str, expected: str
) -> None:
    """Nix takes it for something beside the copy in its store, or far from that."""
    root = flake_with(tmp_path / "s", f"up = import {path};", directory)
    write_tree(root, {expected: ONE})
    with pytest.raises(UndeclaredSourceError) as caught:
        evaluated(tmp_path, root, "up", f"{directory}/flake.nix")
    assert caught.value.path == expected


def test_an_undeclared_file_of_a_flake_is_named_from_the_root(tmp_path: Path) -> None:
    """The copy in the store that Nix evaluates is translated back."""
    root = flake_with(tmp_path / "s", "a = import ./b/hidden.nix;", "sub")
    write_tree(root, {"sub/b/other.nix": ""})
    with pytest.raises(UndeclaredSourceError) as caught:
        evaluated(tmp_path, root, "a", "sub/flake.nix")
    assert "sub/b/hidden.nix" == caught.value.path


def test_a_source_that_does_not_exist(tmp_path: Path) -> None:
    """The error names it as an undeclared source, as it may just not be a dependency."""
    with pytest.raises(UndeclaredSourceError) as caught:
        evaluated(tmp_path, file_with(tmp_path / "s", ""), "a", "nosuch.nix")
    assert "nosuch.nix" == caught.value.path
