"""A tree of Nix projects as they are found: from `pants tailor` to images, and what one broken project does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

_TEXT = """\
{ name, text, ... }: derivation {
  inherit name text; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo \\"$text\\" > $out" ];
  preferLocalBuild = true; allowSubstitutes = false;
}
"""


def _flake(packages: str, inputs: str = "", arguments: str = "self") -> str:
    return (
        f"{{\n{inputs}  outputs = {{ {arguments} }}: let text = import ./text.nix; in {{\n"
        f"    packages.x86_64-linux = {{ {packages} }};\n    packages.aarch64-linux.other = throw \"not this one\";\n"
        "  };\n}\n"
    )


#: The projects. What is in `_PACKAGES` is what they have.
_FILES = {
    # A flake with a lock and an input by path.
    "locked/flake.nix": _flake(
        'app = text { name = "locked"; text = library.word; };',
        '  inputs.library.url = "path:./library";\n',
        "self, library",
    ),
    "locked/text.nix": _TEXT,
    "locked/library/flake.nix": '{ outputs = _: { word = import ./word.nix; }; }\n',
    "locked/library/word.nix": '"of the library"\n',
    # A flake that imports files, and has packages that are not evaluated unless they are asked for.
    "parts/flake.nix": _flake(
        'default = text { name = "parts"; text = import ./lib/word.nix; }; c = import ./packages/c.nix text;\n'
        '    nothing = throw "only if asked"; "needs.quotes" = null;'
    ),
    "parts/text.nix": _TEXT,
    "parts/lib/word.nix": "import ../lib/deeper\n",
    "parts/lib/deeper/default.nix": '"deeper"\n',
    "parts/packages/c.nix": 'text: text { name = "c++"; text = "c"; }\n',
    # A derivation.
    "single/default.nix": 'import ../parts/text.nix { name = "single"; text = "single"; }\n',
    # A set by callPackage, with functions and helpers in it.
    "set/default.nix": """\
{ system ? builtins.currentSystem, debug ? false }:
let
  callPackage = file: more: let f = import file; in f (builtins.intersectAttrs (builtins.functionArgs f) scope // more);
  scope = { inherit callPackage; text = import ../parts/text.nix; } // packages;
  packages = { one = callPackage ./one { }; two = callPackage ./two.nix { word = "two"; }; };
in packages // { inherit callPackage; version = "1"; broken = throw "no package"; }
""",
    "set/one/default.nix": '{ text, two }: text { name = "one"; text = "after ${two}"; }\n',
    "set/two.nix": '{ text, word }: text { name = "two"; text = word; }\n',
    # A shell beside it, which is nothing to put into an image.
    "shell/default.nix": '{ }: throw "called without reason"\n',
    "shell/shell.nix": "import <nixpkgs> { }\n",
    # Pins, of which none has to be fetched here.
    "pinned/npins/default.nix": "let data = builtins.fromJSON (builtins.readFile ./sources.json); in data.pins\n",
    "pinned/npins/sources.json": '{"pins": {"word": "pinned"}, "version": 5}',
    "pinned/default.nix": 'let pins = import ./npins; in { pinned = import ../parts/text.nix { name = "pinned"; text = pins.word; }; }\n',
    # Nested, with the name of its directory and one that is taken.
    "nested/deep/project/default.nix": '{ nix = import ../../../parts/text.nix { name = "n"; text = "nested"; }; }\n',
    # Data files that have an owner already.
    "data/default.nix": 'import ../parts/text.nix { name = "data"; text = builtins.readFile ./word.txt; }\n',
    "data/word.txt": "data",
    "data/BUILD": 'files(name="words", sources=["*.txt"])\n',
    # What is built of a directory, whose files have an owner with a name that is taken so.
    "python/BUILD": 'files(name="package", sources=["*.py"])\n',
    "python/default.nix": """\
derivation {
  name = "python"; system = "x86_64-linux"; builder = "/bin/sh"; src = ./.;
  args = [ "-c" "while read line; do echo $line; done < $src/app.py > $out" ];
}
""",
    "python/app.py": "print('built')\n",
    # A flake beside a default.nix.
    "both/flake.nix": _flake('both = text { name = "both"; text = "both"; };'),
    "both/text.nix": _TEXT,
    "both/default.nix": "(import <flake-compat> { src = ./.; }).defaultNix\n",
    # Two that are broken, and one with a package that somebody has written already.
    "broken/flake.nix": "{ outputs = { self }: { packages.x86_64-linux = import ./nosuch.nix; }; }\n",
    "syntax/default.nix": "{ a = ; }\n",
    "written/default.nix": '{ mine = import ../parts/text.nix { name = "mine"; text = "mine"; }; }\n',
    "written/BUILD": 'nix_package(name="theirs", source="default.nix", attr="mine")\n',
}

#: Names of targets and their attributes, by directory.
_PACKAGES = {
    "locked": {"app": "app"},
    "parts": {"default": "default", "c": "c", "nothing": "nothing"},
    "single": {"package": ""},
    "set": {"one": "one", "two": "two"},
    "pinned": {"pinned": "pinned"},
    "nested/deep/project": {"nix-package": "nix"},
    "data": {"package": ""},
    "python": {"package0": ""},
    "both": {"both": "both"},
}

_CONTENTS = {
    "locked:app": "of the library",
    "parts:default": "deeper",
    "parts:c": "c",
    "single:package": "single",
    "set:one": "after /nix/store/",
    "set:two": "two",
    "pinned:pinned": "pinned",
    "nested/deep/project:nix-package": "nested",
    "data:package": "data",
    "python:package0": "print('built')",
    "both:both": "both",
    "written:theirs": "mine",
}


@pytest.fixture(scope="module")
def monorepo(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monorepo]:
    created = Monorepo.create(tmp_path_factory.mktemp("projects"), machine_nix)
    for name, text in _FILES.items():
        created.write(name, text)
    library = machine_nix.run("nix", "hash", "path", created.root / "locked/library").strip()
    locked = {"type": "path", "path": "./library", "narHash": library, "lastModified": 1}
    node = {"original": {"type": "path", "path": "./library"}, "locked": locked, "parent": []}
    lock = {"nodes": {"library": node, "root": {"inputs": {"library": "library"}}}, "root": "root", "version": 7}
    created.write("locked/flake.lock", json.dumps(lock))
    with created.with_daemon() as running:
        yield running


def _build_files(monorepo: Monorepo) -> dict[str, str]:
    return {
        str(path.parent.relative_to(monorepo.root)): path.read_text()
        for path in sorted(monorepo.root.rglob("BUILD"))
    }


def test_from_projects_to_images(monorepo: Monorepo) -> None:
    run = monorepo.pants("--nix-tailor-packages", "tailor", "::")
    found = _build_files(monorepo)
    shown = json.loads(monorepo.pants("peek", "--filter-target-type=nix_package", "::").stdout)
    packages: dict[str, dict[str, str]] = {}
    for target in shown:
        directory, _, name = target["address"].partition(":")
        packages.setdefault(directory, {})[name or directory.rpartition("/")[2]] = target["attr"] or ""
    assert packages == {**_PACKAGES, "written": {"theirs": "mine"}}
    # A project that cannot be evaluated is named, with the reason; so is what cannot be an `attr`.
    warnings = run.stderr
    assert "the packages of broken/flake.nix, since Nix could not evaluate it, at broken/flake.nix:1:" in warnings
    assert "the packages of syntax/default.nix, since Nix could not evaluate it, at syntax/default.nix:1:" in warnings
    assert "'needs.quotes' of parts/flake.nix" in warnings
    assert warnings.count("No `nix_package` is made") == 3
    # A second time there is nothing to do, and nothing is evaluated.
    again = monorepo.pants("--nix-tailor-packages", "tailor", "--check", "::")
    assert _build_files(monorepo) == found and again.stdout == ""
    assert [step for step in again.started if not step.endswith(("broken/flake.nix", "syntax/default.nix"))] == []

    addresses = [f'"{address}"' for address in _CONTENTS]
    labels = ", ".join(f'"{n}": "{{{address}}}"' for n, address in enumerate(_CONTENTS))
    monorepo.write(
        "BUILD", f'nix_image(name="image", packages=[{", ".join(addresses)}], labels={{{labels}}}, max_layers=3)\n'
    )
    monorepo.pants("package", "::")
    config = monorepo.descriptor("image.image.json")["config"]["config"]
    for number, text in enumerate(_CONTENTS.values()):
        assert text in Path(config["Labels"][str(number)]).read_text()


def test_without_the_option_there_are_sources_only(monorepo: Monorepo) -> None:
    monorepo.write("later/default.nix", 'import ../parts/text.nix { name = "later"; text = "later"; }\n')
    monorepo.pants("tailor", "later")
    assert (monorepo.root / "later/BUILD").read_text() == 'nix_sources(\n    name="nix",\n)\n'
    monorepo.pants("--nix-tailor-packages", "tailor", "later")
    assert 'nix_package(\n    name="package",\n    source="default.nix",\n)' in (monorepo.root / "later/BUILD").read_text()
