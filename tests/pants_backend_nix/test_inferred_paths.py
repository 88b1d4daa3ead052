"""Which paths a Nix file is found to refer to: construct by construct."""

from __future__ import annotations

import pytest
from pants_backend_nix.rules.inference.paths import (
    literals_of,
    references_of,
    settings_of_flake,
)
from pants_backend_nix.rules.inference.references import PathReference, files_of, merge_references

#: What stands for a reference: the path, with `*` for what is unknown; `→` before one that is imported, `?` after
#: one that may be missing.
CONSTRUCTS = {
    # Imports.
    "import ./x.nix": {"→a/b/x.nix"},
    "import ./dir": {"→a/b/dir"},
    "import ./dir { inherit pkgs; }": {"→a/b/dir"},
    "builtins.import ../x.nix": {"→a/x.nix"},
    "import (./x.nix)": {"→a/b/x.nix"},
    "import ./. {}": {"→a/b"},
    "import ../.. {}": {"→"},
    "scopedImport { a = 1; } ./x.nix": {"→a/b/x.nix"},
    "callPackage ./x {}": {"→a/b/x"},
    "pkgs.python3Packages.callPackage ./x { y = ./z; }": {"→a/b/x", "a/b/z"},
    "lib.callPackageWith pkgs ./x {}": {"→a/b/x"},
    "(callPackage ./x {}).override { src = ./s; }": {"→a/b/x", "a/b/s"},
    "{ imports = [ ./m ../n.nix ] ++ lib.optional c ./o; }": {"→a/b/m", "→a/n.nix", "→a/b/o"},
    "{ imports = if a then [ ./m ] else with b; [ ./n ]; }": {"→a/b/m", "→a/b/n"},
    "lib.evalModules { modules = [ ./m { x = ./y; } ]; }": {"→a/b/m", "a/b/y"},
    "map import [ ./a ./b ]": {"→a/b/a", "→a/b/b"},
    "{ inherit (import ./x) a b; }": {"→a/b/x"},
    "let call = file: import file { x = 1; }; in call ./x": {"→a/b/x"},
    "let call = f: g (import f) (import f); in { a = call ./x; b = map call [ ./y ]; }": {
        "→a/b/x",
        "→a/b/y",
    },
    "let call = f: import f f; in call ./x": {"a/b/x"},
    "let call = f: { inherit f; x = import f; }; in call ./x": {"a/b/x"},
    "let call = f: mk { src = f; }; in call ./x": {"a/b/x"},
    "let call = { f }: import f; in call ./x": {"a/b/x"},
    "let cp = lib.callPackageWith pkgs; call = cp; in call ./x {}": {"→a/b/x"},
    "let i = i; in i ./x": {"a/b/x"},
    "map (f: import f {}) [ ./x ./y ]": {"→a/b/x", "→a/b/y"},
    # Reading.
    "builtins.readFile ./x.txt": {"a/b/x.txt"},
    "builtins.readDir ./x": {"a/b/x"},
    "builtins.path { path = ./x; name = ''y''; }": {"a/b/x"},
    "stdenv.mkDerivation { src = ./.; }": {"a/b"},
    "lib.cleanSource ./.": {"a/b"},
    "builtins.filterSource (p: t: t != ''link'') ./x": {"a/b/x"},
    "lib.cleanSourceWith { src = ../.; filter = f; }": {"a"},
    "lib.sources.sourceByRegex ./. [ ''.*'' ]": {"a/b"},
    "lib.fileset.toSource { root = ./.; fileset = lib.fileset.unions [ ./x ./y.c ]; }": {
        "a/b/x",
        "a/b/y.c",
    },
    "lib.fileset.toSource { root = ../.; fileset = lib.fileset.maybeMissing ./x; }": {"a/b/x?"},
    "lib.importJSON ./x.json": {"a/b/x.json"},
    "{ x ? ./x.json, ... }@args: x": {"a/b/x.json"},
    "[ ./x ../y z/w.nix ]": {"a/b/x", "a/y", "a/b/z/w.nix"},
    "f ./x ./y": {"a/b/x", "a/b/y"},
    "(x: ./y) ./x": {"a/b/x", "a/b/y"},
    "a.b or ./x": {"a/b/x"},
    "a ? b && c == ./x": {"a/b/x"},
    "assert ./x != null; ./y": {"a/b/x", "a/b/y"},
    "{ ${builtins.readFile ./x} = 1; }": {"a/b/x"},
    '"${./x}/y"': {"a/b/x"},
    "''\n  cat ${./x.sh} ${f ./y}\n''": {"a/b/x.sh", "a/b/y"},
    # Asked for.
    "builtins.pathExists ./x": {"a/b/x?"},
    "if builtins.pathExists ./x then import ./x else {}": {"a/b/x?"},
    # Put together.
    './. + "/x"': {"a/b/x"},
    'import (./. + "/x")': {"→a/b/x"},
    '../. + "/x" + "/y.nix"': {"a/x/y.nix"},
    './x + ".nix"': {"a/b/x.nix"},
    './. + "/../x"': {"a/x"},
    'toString ./. + "/x"': {"a/b/x"},
    '"${toString ./.}/x/y"': {"a/b/x/y"},
    'lib.path.append ./. "x/y"': {"a/b/x/y"},
    './. + "/${n}.nix"': {"a/b/*.nix"},
    "import ./pkgs/${n}": {"→a/b/pkgs/*"},
    "./pkgs/py-${n}/x": {"a/b/pkgs/py-*/x"},
    "./${f ./y}/x": {"a/b/*/x", "a/b/y"},
    "./x + n": {"a/b/x*"},
    "./x + f ./y": {"a/b/x*", "a/b/y"},
    # Names.
    'let root = ./.; in root + "/x"': {"a/b/x"},
    'let root = ./.; in import "${toString root}/x"': {"→a/b/x"},
    'let root = ../..; in { a = root + "/x"; b = import (root + "/y"); }': {"x", "→y"},
    "let root = ./.; in { inherit root; }": {"a/b"},
    "let root = ./.; in f root": {"a/b"},
    "let unused = ./x; in 1": set(),
    'let n = "x"; in ./${n}.nix': {"a/b/x.nix"},
    'let r = ./r; in let r = ./s; in r + "/x"': {"a/b/s/x"},
    'let r = ./r; in (r: r + "/x")': set(),
    'let r = ./r; in ({ r }: r + "/x") { r = ./q; }': {"a/b/q"},
    'let a = b; b = ./c; in a + "/d"': {"a/b/c/d"},
    "let a = a; in a": set(),
    'rec { r = ./r; s = r + "/x"; }': {"a/b/r", "a/b/r/x"},
    "let { body = x; x = ./y; }": {"a/b/y"},
    'let inherit (f ./x) r; in r + "/y"': {"a/b/x"},
    # Nothing of the repository.
    "import <nixpkgs> {}": set(),
    "<nixpkgs/lib>": set(),
    "~/x": set(),
    "/etc/passwd": set(),
    '/. + "x"': set(),
    "../../../outside": set(),
    "https://example.org/x": set(),
    '"./x"': set(),
    "# ./x\n/* ./y */ 1": set(),
    "a / b + c": set(),
    # No Nix: what can be read counts.
    "{ a = ./x; b = ; c = ./y; ": {"a/b/x", "a/b/y"},
    "import ./x.nix {{{": {"→a/b/x.nix"},
    "": set(),
    "\x00\x01 ./": set(),
}


def shown(reference: PathReference) -> str:
    return f"{'→' * reference.imported}{str(reference) if reference.path or reference.suffix else ''}" + (
        "" if reference.required else "?"
    )


@pytest.mark.parametrize("text", CONSTRUCTS)
def test_constructs(text: str) -> None:
    found = references_of(text.encode(), "a/b/file.nix")
    assert {shown(one) for one in found} == CONSTRUCTS[text]


FLAKE = """\
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs";
  inputs = {
    lib.url = "path:./lib";
    up = { url = "path:../up?dir=x"; flake = false; };
    bare.url = "./bare";
    typed = { type = "path"; path = "./typed"; };
    far.url = "path:/elsewhere";
    registered.url = "nixpkgs";
  };
  outputs = { self, nixpkgs, ... }@inputs: {
    a = import "${self}/a.nix";
    b = import (self + "/b.nix");
    c = mk { src = "${self}/c"; };
    d = "cp ${self}/d.txt $out && cp ${inputs.self}/e/${self.rev} x";
    f = nixpkgs.lib.nixosSystem { specialArgs = { inherit self inputs; }; modules = [ ./f ]; };
    g = self.packages.x;
    h = self.outPath + "/h";
  };
}
"""


def test_a_flake_has_inputs_a_lock_and_itself() -> None:
    found = references_of(FLAKE.encode(), "a/flake.nix")
    assert {shown(one) for one in found} == {
        *("a/flake.lock", "a/lib", "up", "a/bare", "a/typed"),
        *("→a/a.nix", "→a/b.nix", "a/c", "a/d.txt", "a/e/*", "→a/f", "a/h"),
    }


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{ outputs = { self }: { x = mk { src = self; }; }; }", {"flake.lock?", ""}),
        ("{ outputs = { self }: { x = lib.cleanSource self; }; }", {"flake.lock?", ""}),
        ('{ outputs = { self }: { x = "${self}"; }; }', {"flake.lock?", ""}),
        ("{ outputs = { self }: import ./x self; }", {"flake.lock?", "→x"}),
        ("{ outputs = inputs: mk { src = inputs.self; }; }", {"flake.lock?", ""}),
        ("{ outputs = { self }: { o = self: super: mk { src = self; }; }; }", {"flake.lock?"}),
        ('{ inputs.a.url = "./a"; outputs = { ... }: {}; }', {"flake.lock", "a"}),
        (
            '{ inputs.a.url = "git+ssh://u@h/x?ref=y"; inputs.b.url = "https://h/x.tar.gz#y"; }',
            {"flake.lock"},
        ),
        ("{ outputs = ./x; }", {"flake.lock?", "x"}),
        ("1", {"flake.lock?"}),
    ],
)
def test_flakes(text: str, expected: set[str]) -> None:
    assert {shown(one) for one in references_of(text.encode(), "flake.nix")} == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{ nixConfig = { b = true; a.x = 1; }; outputs = _: { }; }", ("a", "b")),
        ('{ nixConfig.b = true; nixConfig."a" = 1; nixConfig.${x} = 1; outputs = _: { }; }', ("a", "b", "…")),
        ("{ nixConfig = import ./x; outputs = _: { nixConfig.a = 1; }; }", ()),
        ("{ outputs = _: { }; }", ()),
        ("1", ()),
    ],
)
def test_settings_of_a_flake(text: str, expected: tuple[str, ...]) -> None:
    assert settings_of_flake(text.encode(), "a/flake.nix") == expected
    assert settings_of_flake(text.encode(), "default.nix") == ()


def test_self_is_nothing_in_other_files() -> None:
    text = b"{ outputs = { self }: { x = mk { src = self; }; }; }"
    assert references_of(text, "default.nix") == ()


def test_a_path_that_is_used_twice_is_there_once() -> None:
    (only,) = references_of(b"{\n a = import ./x;\n b = import ./x;\n}", "f.nix")
    assert only == PathReference("x", imported=True, line=2)
    (only,) = references_of(b"{\n a = import ./x;\n b = mk { src = ./x; };\n}", "f.nix")
    assert not only.imported, "all of the directory is read"


FILES = tuple(
    sorted(
        ["a.nix", "d-x/f", "d.txt", "d/default.nix", "d/e/f.nix", "d/g", "d/p/x.nix", "d/p/y/default.nix"]
    )
)


@pytest.mark.parametrize(
    "reference, expected",
    [
        (PathReference("a.nix"), ["a.nix"]),
        (PathReference("d"), ["d/default.nix", "d/e/f.nix", "d/g", "d/p/x.nix", "d/p/y/default.nix"]),
        (PathReference("d", imported=True), ["d/default.nix"]),
        (PathReference("d/e", imported=True), []),
        (PathReference(""), list(FILES)),
        (PathReference("d/p/", ""), ["d/p/x.nix", "d/p/y/default.nix"]),
        (PathReference("d/p/", ".nix"), ["d/p/x.nix", "d/p/y/default.nix"]),
        (PathReference("d/", "", imported=True), ["d/default.nix", "d/e/f.nix", "d/p/x.nix", "d/p/y/default.nix"]),
        (PathReference("d/", "/y"), ["d/p/y/default.nix"]),
        (PathReference("d", "/f"), ["d-x/f"]),
        (PathReference("missing"), []),
        (PathReference("d/g/below"), []),
    ],
)
def test_files_of_references(reference: PathReference, expected: list[str]) -> None:
    assert list(files_of(reference, FILES)) == expected


def test_references_are_in_the_order_of_lines() -> None:
    references = [PathReference("b", line=2), PathReference("c", line=1), PathReference("a", line=2)]
    assert [one.path for one in merge_references(references)] == ["c", "a", "b"]


def test_literals_are_all_there_is() -> None:
    text = b'let unused = ./x; in [ ./y (./. + "/z") ./e-${a}/b <c> ../../up "${./d}/e" ]'
    assert literals_of(text, "r/f.nix") == {"r/x", "r/y", "r", "r/d", "r/e-"}


def test_deep_and_long_files_are_read() -> None:
    """No expression is too deep, and none takes time with the square of its length."""
    many = b" + ".join(b"(f ./x%d)" % i for i in range(3000))
    assert len(references_of(many, "f.nix")) == 3000
    deep = b"[" * 3000 + b"./x" + b"]" * 3000
    assert [one.path for one in references_of(deep, "f.nix")] == ["x"]
    sums = b"./x" + b' + "/y"' * 3000
    assert references_of(sums, "f.nix")
