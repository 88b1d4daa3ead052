"""Each way in which an evaluation fails, with every version of Nix: a sentence with target, file and line.

Alone and as one of many it is the same error, and no other attribute fails with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union

import pytest
from nixoci.batch.evaluate_many import evaluate_many
from nixoci.errors import NixOciError
from nixoci.store.evaluate import Attribute, Derivation
from nixoci.store.nix import Nix as CoreNix
from pants.engine.addresses import Address
from pants_backend_nix.errors import explain_package_error

from tests.integration.support.nix import Nix, newer_nix
from tests.nixoci.store.nix_support import SYSTEM, write_tree

_HASH = "0" * 52
_REV = "0123456789" * 4

#: Files below `lib`.
_LIBRARY = {
    "syntax": "{\n  a = ;\n}\n",
    "end": "{\n  a = 1;\n",
    "attribute": "let set = { };\nin set.nosuch\n",
    "undefined": "\n nosuch\n",
    "recursion": "let\n  x = x;\nin x\n",
    "assertion": "\nassert 1 == 2; 3\n",
    "function": "{ needed }:\n needed\n",
    "abort": '{ why }:\nabort "gave up: ${why}"\n',
    "throw": '{ why }:\nthrow "thrown: ${why}"\n',
    "type": '\n 1 + "a"\n',
    "stack": "let f = x: 1 + f (x + 1);\nin f 1\n",
    "tarball": f'builtins.fetchTarball {{\n url = "http://127.0.0.1:1/x.tar.gz"; sha256 = "{_HASH}"; }}\n',
    "git": f'builtins.fetchGit {{\n url = "http://127.0.0.1:1/x"; rev = "{_REV}"; }}\n',
    "drv": "name: derivation {\n"
    f' inherit name; system = "{SYSTEM}"; builder = "/bin/sh"; args = ["-c" "echo 1 > $out"];\n}}\n',
    "unpinned": '\n builtins.fetchurl "http://127.0.0.1:1/x"\n',
}


@dataclass(frozen=True)
class Case:
    """:param value: of the attribute, which is on a line of its own.
    :param place: that the sentence has, `FILE` the file of the package and `LINE` the line of the attribute; `old`:
        where Nix 2.8 knows less.
    :param says: words of the whole message; `advice`: of what to do.
    """

    value: str
    place: str
    says: str
    advice: str = "Fix the expression."
    old: str = ""


_CASES = {
    "syntax": Case("import ./lib/syntax.nix", "lib/syntax.nix:2:7", "unexpected ';'"),
    "end": Case("import ./lib/end.nix", "lib/end.nix:", "unexpected end of file"),
    "attribute": Case("import ./lib/attribute.nix", "lib/attribute.nix:2:4", "'nosuch' missing"),
    "undefined": Case("import ./lib/undefined.nix", "lib/undefined.nix:2:2", "undefined variable"),
    "recursion": Case("import ./lib/recursion.nix", "lib/recursion.nix:2:7", "infinite recursion"),
    "assertion": Case("import ./lib/assertion.nix", "lib/assertion.nix:2:1", "(1 == 2)"),
    "ifd": Case('import (import ./lib/drv.nix "x")', "FILE:LINE:", "x.drv", "allow_import_from_derivation=True"),
    "tarball": Case(
        "import ./lib/tarball.nix",
        "lib/tarball.nix:1:1",
        "127.0.0.1:1/x.tar.gz",
        "Check that this machine gets http://127.0.0.1:1/x.tar.gz",
        old="lib/tarball.nix",
    ),
    # What git has said is there.
    "git": Case(
        "import ./lib/git.nix", "lib/git.nix:1:1", "fatal: unable to access", "gets the git repository", "lib/git.nix"
    ),
    "argument": Case(
        "import ./lib/function.nix { }", "lib/function.nix:1:1", "argument 'needed'", "Pass `needed` where"
    ),
    # The caller is an expression of ours, which is of no interest.
    "own-argument": Case("{ other }: other", "FILE:LINE:", "argument 'other'", 'arguments={"other": …}'),
    "abort": Case('import ./lib/abort.nix { why = "so"; }', "lib/abort.nix:2:1", "gave up: so", old="lib/abort.nix:1:1"),
    "throw": Case('import ./lib/throw.nix { why = "so"; }', "lib/throw.nix:2:1", "thrown: so", old="lib/throw.nix:1:1"),
    "type": Case("import ./lib/type.nix", "lib/type.nix:2:6", "cannot add a string"),
    "file": Case("import ./lib/nosuch.nix", "FILE:LINE:", "reads DIR/lib/nosuch.nix", "add the target that owns it"),
    "data": Case("builtins.readFile ./nosuch", "FILE:LINE:", "reads DIR/nosuch", "add the target that owns it"),
    "lookup": Case("import <nixpkgs> { }", "FILE:LINE:", "'<nixpkgs>'", "an input of a flake, npins, niv"),
    "variable": Case(
        'import (builtins.getEnv "X" + "/x.nix")', "", "/x.nix", "A flake sees only what is in its own directory"
    ),
    "no-path": Case('import (builtins.getEnv "X")', "FILE:LINE:", "absolute path", "evaluation has no environment"),
    "machine": Case(
        f'builtins.storePath "/nix/store/{"0" * 32}-x"', "FILE:LINE:", "pure", "`builtins.storePath` depends on"
    ),
    "unpinned": Case("import ./lib/unpinned.nix", "lib/unpinned.nix:2:2", "without a hash", "Give it the `sha256`", old="fetchurl` "),
    # Nix 2.8 says nothing but that.
    "stack": Case("import ./lib/stack.nix", "lib/stack.nix:1:16", "stack overflow", old="(field `attr`: stack)"),
}

#: Attributes whose names Nix takes for something else.
_GOOD = tuple(f"good{number}" for number in range(3))


def _write(root: Path, source: str) -> None:
    values = {name: case.value for name, case in _CASES.items()}
    values.update((name, f'import ./lib/drv.nix "{name}"') for name in _GOOD)
    attributes = "\n".join(f"  {name} = {value};" for name, value in values.items())
    if source == "flake.nix":
        text = f"{{ outputs = {{ self }}: {{ packages.{SYSTEM} = {{\n{attributes}\n}}; }}; }}\n"
    else:
        text = f"{{ system }}: {{\n{attributes}\n}}\n"
    files = {f"lib/{name}.nix": content for name, content in _LIBRARY.items()}
    write_tree(root / "d", {source: text, **files})


@pytest.fixture(scope="module", params=["machine", "trixie", "sid"])
def nix(request: pytest.FixtureRequest, machine_nix: Nix) -> Nix:
    return machine_nix if request.param == "machine" else newer_nix(request.param)


@pytest.mark.parametrize("source", ("default.nix", "flake.nix"))
def test_each_error_says_where_and_what_to_do(nix: Nix, tmp_path: Path, source: str) -> None:
    _write(tmp_path, source)
    core = CoreNix.find({**nix.environment(), "HOME": str(tmp_path), "NIX_CONFIG": "download-attempts = 1"})
    file = Attribute(str(tmp_path), f"d/{source}", "", SYSTEM)
    names = [*_GOOD[:2], *_CASES, *_GOOD[2:]]
    found = evaluate_many(core, file, names)
    assert all(isinstance(found[name], Derivation) for name in _GOOD)
    for line, (name, case) in enumerate(_CASES.items(), 2):
        text = _sentence(found[name], f"d/{source}", name)
        is_old = nix.version() < (2, 9)
        place = (case.old if is_old and case.old else case.place).replace("LINE", str(line))
        place = place.replace("FILE", f"d/{source}").replace("lib/", "d/lib/")
        first = text.partition("Nix says:")[0]
        assert "d:p" in first and place in first and f"d/{source}" in first, text
        assert case.says.replace("DIR", "d") in text and case.advice in first, text
        # Neither our own expressions, nor copies of the sources, nor advice for a command line that nobody has typed.
        for nothing in ("«string»", str(tmp_path), "-source/", "--show-trace", "--impure"):
            assert nothing not in text, text


def test_alone_it_is_the_same_error(nix: Nix, tmp_path: Path) -> None:
    _write(tmp_path, "default.nix")
    core = CoreNix.find({**nix.environment(), "HOME": str(tmp_path)})
    file = Attribute(str(tmp_path), "d/default.nix", "throw", SYSTEM)
    with pytest.raises(NixOciError) as alone:
        file.evaluate(core)
    assert str(evaluate_many(core, file, ["good0", "throw"])["throw"]) == str(alone.value)


def _sentence(found: Union[Derivation, NixOciError], source: str, attr: str) -> str:
    assert isinstance(found, NixOciError), attr
    return str(explain_package_error(found.to_document(), "", Address("d", target_name="p"), source, attr))
