"""Tests of `nixoci.batch.package_names`, with the Nix of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from nixoci.batch.package_names import package_names
from nixoci.store.evaluate import Attribute
from nixoci.store.messages.evaluation import EvaluationError

from tests.nixoci.store.nix_support import SYSTEM, nix, shell_derivation, write_tree

ONE = shell_derivation("one", "echo 1 > $out").replace("inherit system", f'system = "{SYSTEM}"')


def _names(directory: Path, text: str, source: str = "default.nix") -> tuple[str, ...]:
    root = write_tree(directory / "s", {source: text})
    return package_names(nix(directory), Attribute(str(root), source, "", SYSTEM))


@pytest.mark.parametrize(
    "text, expected",
    [
        (ONE, ("",)),
        (f"{{ system ? 1, debug ? false }}: {ONE}", ("",)),
        (f"{{ system }}: {{ a = {ONE}; b = if system == \"{SYSTEM}\" then {ONE} else null; }}", ("a", "b")),
        # What is no derivation, or fails, is no package; nothing else is evaluated of the others.
        (f'{{ a = {ONE}; lib = {{ }}; f = x: x; t = throw "no"; n = 1; s = {{ type = "other"; }}; }}', ("a",)),
        (f'{{ a = {ONE} // {{ drvPath = abort "evaluated"; outPath = abort "evaluated"; }}; }}', ("a",)),
        # Functions that others call.
        (f"{{ stdenv, system }}: {ONE}", ()),
        (f"x: {ONE}", ()),
        ("12", ()),
    ],
)
def test_packages_of_a_file(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    assert _names(tmp_path, text) == expected


def test_packages_of_a_flake(tmp_path: Path) -> None:
    """All names of one system; no package is looked at."""
    text = f'{{ outputs = {{ self }}: {{ packages.{SYSTEM} = {{ b = abort "b"; a = 1; }}; packages.other.c = 1; }}; }}'
    assert _names(tmp_path, text, "flake.nix") == ("a", "b")
    assert _names(tmp_path, "{ outputs = { self }: { packages.other.c = 1; }; }", "flake.nix") == ()


@pytest.mark.parametrize("source", ("default.nix", "flake.nix"))
def test_what_cannot_be_evaluated(tmp_path: Path, source: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        _names(tmp_path, "{ a = ; }", source)
    assert caught.value.place == f"{source}:1:7"


def test_a_whole_collection_is_none_of_ours(tmp_path: Path) -> None:
    text = f'builtins.listToAttrs (builtins.genList (n: {{ name = "p${{toString n}}"; value = {ONE}; }}) 1001)'
    with pytest.raises(EvaluationError, match="it has 1001 attributes"):
        _names(tmp_path, text)
