"""Nix files with every construct that refers to a path, for what is found in them against what Nix does.

Each case is a directory. Beside what is needed, it has files that are not, so that whoever takes everything
is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

#: What the cases use of nixpkgs, written anew: the same names, and the same paths are read.
LIB = """\
rec {
  callPackageWith = scope: file: overrides: (import file) (scope // overrides);
  callPackage = callPackageWith { };
  cleanSource = src: builtins.filterSource (path: type: baseNameOf path != ".git") src;
  cleanSourceWith = { src, filter }: builtins.filterSource filter src;
  fileset = {
    unions = builtins.concatLists;
    file = path: [ path ];
    toSource = { root, fileset }: map (path: "${path}") fileset;
  };
  path.append = base: below: base + ("/" + below);
  optional = condition: value: if condition then [ value ] else [ ];
  importJSON = file: builtins.fromJSON (builtins.readFile file);
}
"""


@dataclass(frozen=True)
class Case:
    """Files of one directory, by name.

    :param files: `default.nix` (or `flake.nix`) is what is evaluated; `../lib` is `LIB`.
    :param is_exact: evaluation opens all that is found in the files.
    """

    files: Mapping[str, str]
    is_exact: bool = True

    @property
    def entry(self) -> str:
        return "flake.nix" if "flake.nix" in self.files else "default.nix"


def _case(default: str, is_exact: bool = True, **files: str) -> Case:
    """:param files: with `__` for a slash, and `_` for a dot."""
    named = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}
    decoys = {name: "throw ''not needed''" for name in ("decoy.nix", "decoys/default.nix")}
    return Case({"default.nix": default, **decoys, **named}, is_exact)


_WITH_LIB = "let lib = import ../lib; in "

CASES: dict[str, Case] = {
    "import": _case("import ./x.nix", x_nix="import ./y.nix { }", y_nix="{ }: 1"),
    "import-directory": _case("import ./d + import (./d)", d__default_nix="1", d__other_nix="2"),
    "import-through-three": _case(
        "(import ./a.nix).x", a_nix="{ x = import ./b; }", b__default_nix="import ./c.nix", b__c_nix="1"
    ),
    "import-up": _case("import ./d/e", d__e__default_nix="import ../../x.nix", x_nix="1"),
    "scoped-import": _case("scopedImport { y = 1; } ./x.nix", x_nix="with { }; y"),
    "inherit-import": _case("let inherit (import ./x.nix) y; in y", x_nix="{ y = 1; }"),
    "map-import": _case("map import [ ./x.nix ./y.nix ]", x_nix="1", y_nix="2"),
    "import-function": _case(
        "let call = file: import file { }; in [ (call ./x.nix) (call ./d) ]",
        x_nix="{ }: 1",
        d__default_nix="{ }: 2",
        d__other="",
    ),
    "call-package": _case(
        _WITH_LIB + "[ (lib.callPackage ./p { }) (lib.callPackageWith { a = 1; } ./q.nix { }) ]",
        p__default_nix="{ }: builtins.readFile ./text",
        p__text="t",
        q_nix="{ a }: a",
    ),
    "imports": _case(
        _WITH_LIB + "map (m: import m) ((import ./m.nix).imports ++ lib.optional true ./o.nix)",
        m_nix="{ imports = [ ./n.nix ] ++ (if true then [ ./k ] else [ ]); }",
        n_nix="1",
        k__default_nix="2",
        o_nix="3",
    ),
    "read-file": _case("builtins.readFile ./x + builtins.readFile d/y", x="1", d__y="2", d__z="3"),
    "import-json": _case(_WITH_LIB + "lib.importJSON ./x.json", x_json="{}"),
    "hash-file": _case('builtins.hashFile "sha256" ./x', x="1"),
    "read-directory": _case(
        "map (n: builtins.readFile (./d + ''/${n}'')) (builtins.attrNames (builtins.readDir ./d))",
        d__1="1",
        d__2="2",
    ),
    "string-of-file": _case('"${./x}"', x="1"),
    "string-of-directory": _case('"${./d}/e/1"', d__1="1", d__e__1="2"),
    "indented-string": _case("''\n  cat ${./x.sh} ${./d}/1\n''", x_sh="1", d__1="1", d__2="2"),
    "source": _case(
        'derivation { name = "x"; system = "x"; builder = "x"; src = ./src; }',
        src__1="1",
        src__a__2="2",
    ),
    "builtins-path": _case('builtins.path { path = ./d; name = "x"; }', d__1="1", d__2="2"),
    "filter-source": _case(
        'builtins.filterSource (p: t: baseNameOf p != "2") ./d', False, d__1="1", d__2="2"
    ),
    "clean-source": _case(_WITH_LIB + "lib.cleanSource ./d", d__1="1", d__e__2="2"),
    "clean-source-with": _case(
        _WITH_LIB + "lib.cleanSourceWith { src = ./d; filter = p: t: true; }", d__1="1"
    ),
    "fileset": _case(
        _WITH_LIB
        + "lib.fileset.toSource { root = ./.; fileset = lib.fileset.unions "
        "[ (lib.fileset.file ./x) (lib.fileset.file ./d) ]; }",
        x="1",
        d__1="1",
        e__1="1",
    ),
    "sum": _case('import (./. + "/x.nix")', x_nix="1"),
    "sum-of-sums": _case('builtins.readFile (../. + "/sum-of-sums" + "/d/x")', d__x="1", d__y="2"),
    "sum-of-names": _case(
        'let root = ./.; d = root + "/d"; in import (d + "/x.nix") + import "${toString root}/y.nix"',
        d__x_nix="1",
        y_nix="2",
    ),
    "path-append": _case(_WITH_LIB + 'import (lib.path.append ./. "d/x.nix")', d__x_nix="1"),
    "interpolated-path": _case('let n = "x"; in import ./d/${n}.nix', d__x_nix="1", d__y_nix="2"),
    "unknown-path": _case(
        'let f = n: import ./d/${n}.nix; in map f [ "x" "y" ]', d__x_nix="1", d__y_nix="2", d__t="3"
    ),
    "unknown-directory": _case(
        'map (n: import (./d + "/${n}")) [ "x" ]', False, d__x__default_nix="1", d__y_nix="2"
    ),
    "default-argument": _case(
        "({ sources ? ./s.json, f ? import ./f.nix }: f (builtins.readFile sources)) { }",
        s_json="{}",
        f_nix="x: x",
    ),
    "path-exists": _case(
        "[ (if builtins.pathExists ./no.nix then import ./no.nix else 0)"
        " (if builtins.pathExists ./x.nix then import ./x.nix else 0) ]",
        x_nix="1",
    ),
    "lazy": _case("let a = import ./x.nix; b = import ./y.nix; in a", False, x_nix="1", y_nix="2"),
    "sources-of-npins": _case(
        "import ./npins",
        npins__default_nix="let data = builtins.fromJSON (builtins.readFile ./sources.json); in data",
        npins__sources_json="{}",
    ),
    "no-paths": _case(
        "# ./decoy.nix\n/* ./decoy.nix */ [ ''./decoy.nix'' \"./decoys\" (4 / 2) "
        "(if false then import <decoys> else 1) (if false then ~/decoy.nix else 1) ]"
    ),
    "flake": Case(
        {
            "flake.nix": """\
                {
                  inputs.below = { url = "path:./below"; flake = false; };
                  outputs = { self, below }: {
                    text = import ./a.nix + builtins.readFile (self + "/b") + builtins.readFile "${self}/c";
                  };
                }
                """,
            "a.nix": 'builtins.readFile ./d/1',
            "d/1": "1",
            "b": "2",
            "c": "3",
            "below/1": "4",
        }
    ),
}


def write_corpus(root: Path) -> None:
    """Writes a directory for each case, and `lib`."""
    files = {"lib/default.nix": LIB}
    for name, case in CASES.items():
        files.update({f"{name}/{file}": text for file, text in case.files.items()})
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
