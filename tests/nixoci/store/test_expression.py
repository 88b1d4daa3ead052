"""Tests of `nixoci.store.expression`: it finds what Nix itself finds in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.store.expression import selected
from nixoci.store.nix import NixFailedError

from tests.nixoci.store.nix_support import SYSTEM, nix, write_tree

_FILE = """
let all = { system, ... }: { it = system; }; in {
  plain = 1;
  deep.er.value = 2;
  "with.dot" = 3;
  "$" = 4;
  "\\\\n" = 5;
  list = [ { a = 6; } 7 ];
  called = { system }: { inherit system; };
  defaults = { system ? "other", more ? 8 }: { inherit system more; };
  ellipsis = { ... }@given: { it = given.system or "none"; };
  named = { system, ... }@given: { it = given.system; };
  nothing = { }: { it = 9; };
  twice = { system }: { inherit all; };
  functor = { __functor = self: { system }: { it = system + self.tail; }; tail = "!"; };
  builtin = builtins.mapAttrs (name: value: value + 1) { a = 10; };
  throws = throw "why";
  null = null;
}
"""


@pytest.mark.parametrize(
    "attr",
    [
        "plain",
        "deep.er.value",
        "deep.er.",
        '"with.dot"',
        'deep."er".value',
        'de"ep.e"r',
        "$",
        "\\\\n",
        "list.0.a",
        "list.1",
        "list.00.a",
        "called.system",
        "defaults.system",
        "defaults.more",
        "ellipsis.it",
        "named.it",
        "nothing.it",
        "twice.all.it",
        "functor.it",
        "builtin.a",
        "null",
        "list",
        # What is not there.
        "list.2",
        "list.a",
        "nosuch",
        "deep.nosuch.value",
        "plain.a",
        "null.a",
        "throws",
        "throws.a",
        "deep..er",
        ".deep",
        '"deep',
    ],
)
@pytest.mark.parametrize("head", ["", "{ system }: ", "{ ... }: ", "{ system, ... }@given: "])
def test_it_is_what_nix_finds(tmp_path: Path, head: str, attr: str) -> None:
    """Functions on the way are called, whatever they name of their arguments."""
    root = write_tree(tmp_path / "a b$", {"file.nix": head + _FILE})
    file = str(root / "file.nix")
    words = ("eval", "--json", "--impure")
    try:
        there = nix(tmp_path).command(*words, "--file", file, attr, "--argstr", "system", SYSTEM)
        expected = json.loads(there)
    except NixFailedError:
        expected = NixFailedError
    try:
        here = nix(tmp_path).command(*words, "--expr", selected(file, attr, SYSTEM))
        found = json.loads(here)
    except (NixFailedError, InvalidInputError):
        found = NixFailedError
    assert expected == found


def test_the_file_itself(tmp_path: Path) -> None:
    """Without an attribute path it is the value of the file, and a function is not called."""
    file = str(write_tree(tmp_path, {"file.nix": "{ system }: system"}) / "file.nix")
    for attr in ("", "."):
        expression = f"builtins.isFunction ({selected(file, attr, SYSTEM)})"
        output = nix(tmp_path).command("eval", "--json", "--impure", "--expr", expression)
        assert json.loads(output) is True
