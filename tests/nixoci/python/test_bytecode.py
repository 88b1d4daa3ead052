"""Tests of `nixoci.python.bytecode` and `interpreter`, with the interpreter of this test."""

from __future__ import annotations

import importlib.util
import marshal
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import CodeType
from typing import Any, Mapping

import packaging
import pytest
from nixoci.errors import NixOciError
from nixoci.python import bytecode
from nixoci.python.bytecode import find_modules, write_bytecode
from nixoci.python.distributions import normalize_distributions
from nixoci.python.environment import Environment
from nixoci.python.interpreter import (
    InterpreterFailedError,
    InterpreterMissingError,
    describe_interpreter,
    language_version,
    parse_interpreter,
    run_interpreter,
)
from nixoci.store.nix import Nix

from tests.integration.support.interpreters import interpreter
from tests.nixoci.tar.tar_support import far_down, write_deep_tree

#: Interpreters of the usual store are started as they are.
_NIX = Nix("/nosuch", {}, known_store="local")

_PLACE = "/app/lib/python3/site-packages"

_TREE = {
    "package/__init__.py": "NAMES = {'b', 'a', None} if 'x' in {'x', 'y', 'z'} else frozenset()\n",
    "package/module.py": "def fail():\n    raise ValueError('here')\n",
    "package/other.py": "def other():\n    return ('a', 'b', 1.5, {'x', 'y'} | {'z'})\n",
    "package/broken.py": "this is no Python\n",
    "package/null.py": "\0",
    "package/deep.py": "x = " + "(" * 5000 + ")" * 5000 + "\n",
    "latin.py": "# coding: latin-1\nNAME = '\xe9'\n",
    "bin/script.py": "print()\n",
}


def _write(directory: Path, tree: Mapping[str, str] = _TREE) -> Path:
    for path, text in tree.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(text.encode("latin-1"))
    return directory


def _compiled(source: Path, output: Path) -> dict[str, bytes]:
    write_bytecode(_NIX, sys.executable, str(source), str(output), _PLACE, ["bin"])
    return {str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file()}


def test_all_that_compiles_is_compiled(tmp_path: Path) -> None:
    """Unchecked by hash, with the place in the image; what is no Python is left out."""
    found = _compiled(_write(tmp_path / "tree"), tmp_path / "output")
    tag = sys.implementation.cache_tag
    assert set(found) == {
        f"__pycache__/latin.{tag}.pyc",
        *(f"package/__pycache__/{name}.{tag}.pyc" for name in ("__init__", "module", "other")),
    }
    data = found[f"package/__pycache__/module.{tag}.pyc"]
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(data[4:8], "little") == 0b01
    code = marshal.loads(data[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == f"{_PLACE}/package/module.py"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x = " + "+".join(["1"] * 200_000), id="sum"),
        pytest.param("x = a" + ".b" * 200_000, id="attributes"),
        pytest.param("x = a" + "()" * 200_000, id="calls"),
        pytest.param("x = " + "-" * 200_000 + "1", id="signs"),
        pytest.param("if a: pass\n" + "elif a: pass\n" * 50_000, id="branches"),
    ],
)
@pytest.mark.parametrize("version", ["3.9", "3.11", "3.13"])
def test_what_is_too_deep_costs_nothing_else(tmp_path: Path, text: str, version: str) -> None:
    """Also where the compiler crashes at it; the others of its package are compiled."""
    tree = {"package/a.py": "A = 1\n", "package/deep.py": text + "\n", "package/z.py": "Z = 1\n"}
    source, output = _write(tmp_path / "tree", tree), tmp_path / "output"
    write_bytecode(_NIX, interpreter(version), str(source), str(output), _PLACE)
    names = {path.name.partition(".")[0] for path in output.rglob("*.pyc")}
    assert names - {"deep"} == {"a", "z"}


def test_tracebacks_show_the_place_in_the_image(tmp_path: Path) -> None:
    """Without a source, as it is on the machine where the bytecode was made."""
    found = _compiled(_write(tmp_path / "tree"), tmp_path / "output")
    code = marshal.loads(found[f"package/__pycache__/module.{sys.implementation.cache_tag}.pyc"][16:])
    names: dict[str, Any] = {}
    exec(code, names)
    with pytest.raises(ValueError, match="here") as caught:
        names["fail"]()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].filename == f"{_PLACE}/package/module.py"


def test_imported_bytecode_is_not_compared_with_its_source(tmp_path: Path) -> None:
    """A source of another time, and even another source, changes nothing."""
    tree = _write(tmp_path / "tree", {"unchecked.py": "VALUE = 1\n"})
    write_bytecode(_NIX, sys.executable, str(tree), str(tree), _PLACE)
    (tree / "unchecked.py").write_text("VALUE = 2\n")
    say = f"import sys; sys.path.insert(0, {str(tree)!r}); import unchecked; print(unchecked.VALUE)"
    assert run_interpreter(_NIX, sys.executable, ("-I", "-B", "-c", say)) == b"1\n"


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_sets_of_constants_have_one_order(tmp_path: Path, version: str) -> None:
    """From Python 3.11 on also with `None`, whose hash is its address in versions before 3.12."""
    names = ", ".join(map(repr, "abcdefgh"))
    tree = _write(tmp_path / "tree", {"sets.py": f"def f(x):\n    return x in {{None, {names}, 1.5}}\n"})
    found = set()
    for number in range(8):
        output = tmp_path / str(number)
        write_bytecode(_NIX, interpreter(version), str(tree), str(output), _PLACE)
        (file,) = output.rglob("*.pyc")
        found.add(file.read_bytes())
    assert len(found) == 1


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    """A failure is no module that cannot be compiled: what is missing would be missed at run time."""
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "package").write_text("in the way")
    with pytest.raises(InterpreterFailedError, match="compiling failed: one of package/__init__.py"):
        _compiled(_write(tmp_path / "tree"), tmp_path / "output")


def test_the_same_bytes_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the directory, the times, the umask, and the number of processors."""
    first = _compiled(_write(tmp_path / "one"), tmp_path / "first")
    other = _write(tmp_path / "another" / "place")
    for file in other.rglob("*.py"):
        os.utime(file, (0, 1_000_000))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    mask = os.umask(0o077)
    try:
        second = _compiled(other, tmp_path / "second")
    finally:
        os.umask(mask)
    assert first == second


def test_packages_do_not_change_each_other(tmp_path: Path) -> None:
    """The bytecode of one is the same with and without another one beside it."""
    alone = {path: text for path, text in _TREE.items() if path.startswith("package/")}
    first = _compiled(_write(tmp_path / "one", alone), tmp_path / "first")
    beside = {"aaa/__init__.py": "NAMES = ('a', 'b', 'here', 'x', 'y')\n", **_TREE}
    second = _compiled(_write(tmp_path / "two", beside), tmp_path / "second")
    assert first == {path: data for path, data in second.items() if path.startswith("package/")}


def test_modules_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large packages are compiled by several processes."""
    monkeypatch.setattr(bytecode, "_GROUP", 2)
    tree = {f"package/m{number}.py": f"X = {number}\n" for number in range(7)}
    assert len(_compiled(_write(tmp_path / "tree", tree), tmp_path / "output")) == 7


def test_modules_are_files(tmp_path: Path) -> None:
    _write(tmp_path, {"a.py": "", "b/c.py": "", "b/d.txt": "", "without/e.py": "", "b/without/f.py": ""})
    (tmp_path / "link.py").symlink_to("a.py")
    assert find_modules(str(tmp_path), frozenset({"without"})) == ["a.py", "b/c.py", "b/without/f.py"]


def test_modules_and_files_far_down(tmp_path: Path) -> None:
    """However deep the directories are in one another, and whoever asks."""
    tree = f"{tmp_path}/t"
    write_deep_tree(tree, 1_200)
    place = "/d" * 1_200
    (Path(tree + place) / "m.py").touch()
    try:
        assert far_down(lambda: find_modules(tree)) == [f"{place[1:]}/m.py"]
        environment = Environment("/app", "3.11", "/nix/store/x/bin/python3")
        installed = normalize_distributions(tree, environment, f"{tmp_path}/changed")
        assert installed.distributions == ()
    finally:
        subprocess.run(["rm", "-rf", tree], check=True)


def test_modules_that_cannot_be_read(tmp_path: Path) -> None:
    """An error of ours, and no tree without them."""
    with pytest.raises(NixOciError, match="cannot be read"):
        find_modules(f"{tmp_path}/missing")


def test_an_interpreter_says_what_it_is() -> None:
    (library,) = {os.path.dirname(place) for place in packaging.__path__}
    path, platform = parse_interpreter(describe_interpreter(_NIX, sys.executable, library))
    assert path == sys.executable
    assert language_version(platform) == "{}.{}.{}".format(*sys.version_info)
    assert "py3-none-any" in platform["compatible_tags"]
    # Nothing of the machine on which it was asked.
    assert not {"platform_release", "platform_version"} & set(platform["marker_environment"])


@pytest.mark.parametrize(
    ("program", "said"),
    [("/nosuch/python3", "No such file"), ("/bin/false", "exit status 1"), ("/bin/true", "no Python")],
)
def test_what_is_no_interpreter_is_an_error(program: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InterpreterFailedError, match=said) as caught:
        describe_interpreter(_NIX, program, str(tmp_path))
    assert program in str(caught.value)


def test_an_interpreter_has_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "secret")
    say = ("-c", "import os; print(sorted(os.environ))")
    output = run_interpreter(_NIX, sys.executable, say, environment={"LC_ALL": "C.UTF-8"})
    assert b"SECRET" not in output


def test_places_that_are_missing_are_named() -> None:
    error = InterpreterMissingError(["/nix/store/a/bin/x", "/nix/store/b/bin/x"])
    assert str(error) == "There is no interpreter at /nix/store/a/bin/x or /nix/store/b/bin/x."
