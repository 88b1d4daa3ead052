"""The Python of an image, in the store of this machine and in a store elsewhere: asked, and compiling."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

import packaging
import pytest
from nixoci.program.run import ProgramMissingError, ProgramRun, run_on_files
from nixoci.python.bytecode import write_bytecode
from nixoci.python.interpreter import (
    InterpreterFailedError,
    InterpreterMissingError,
    describe_interpreter,
    find_interpreter,
    language_version,
    parse_interpreter,
    run_interpreter,
)
from nixoci.store.nix import Nix as CoreNix

from tests.integration.support.nix import Nix

_PLACE = "/app/lib/python3.11/site-packages"


@dataclass(frozen=True)
class Store:
    """A Nix whose store has Debian's Python.

    :param python: store path of it.
    :param other: store path without a Python.
    """

    nix: CoreNix
    python: str
    other: str

    @property
    def interpreter(self) -> str:
        return f"{self.python}/bin/python3"


@pytest.fixture(params=["this-machine", "elsewhere"])
def store(
    request: pytest.FixtureRequest,
    machine_nix: Nix,
    debian_closure: Mapping[str, str],
    tmp_path: Path,
) -> Store:
    nix = machine_nix
    if request.param == "elsewhere":
        nix = machine_nix.chroot_store(tmp_path / "store")
        machine_nix.copy_closure([debian_closure["python"], debian_closure["bash"]], nix)
    variables = nix.environment({"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    return Store(CoreNix.find(variables), debian_closure["python"], debian_closure["bash"])


def _library() -> str:
    (directory,) = packaging.__path__
    return os.path.dirname(directory)


def test_it_says_what_it_is(store: Store) -> None:
    """The same in both stores: it is in the key of what pex lays out."""
    path, platform = parse_interpreter(
        describe_interpreter(store.nix, store.interpreter, _library())
    )
    assert path == store.interpreter
    assert language_version(platform).startswith("3.11.")
    tags = platform["compatible_tags"]
    assert "cp311-cp311-manylinux_2_17_x86_64" in tags and "cp311-abi3-linux_x86_64" in tags
    assert not any("musllinux" in tag or "macosx" in tag for tag in tags)


def test_the_first_place_that_there_is(store: Store) -> None:
    """A link in the store counts, wherever the store is."""
    places = [f"{store.other}/bin/python3", store.interpreter, f"{store.python}/bin/python3.11"]
    assert find_interpreter(store.nix, places) == store.interpreter
    with pytest.raises(InterpreterMissingError) as caught:
        find_interpreter(store.nix, places[:1])
    assert str(caught.value) == f"There is no interpreter at {places[0]}."


def test_it_compiles_and_leaves_the_store_as_it_is(store: Store, tmp_path: Path) -> None:
    """The bytecode is its own, for the place in the image; root could write into the store."""
    location = Path(store.nix.location(store.python))
    before = sorted(location.rglob("*"))
    tree = tmp_path / "tree"
    (tree / "package").mkdir(parents=True)
    (tree / "package" / "module.py").write_text("def where():\n    pass\n")
    output = tmp_path / "output"
    write_bytecode(store.nix, store.interpreter, str(tree), str(output), _PLACE)
    compiled = output / "package" / "__pycache__" / "module.cpython-311.pyc"
    assert [path for path in output.rglob("*") if path.is_file()] == [compiled]
    say = "import marshal, sys; print(marshal.loads(sys.stdin.buffer.read()[16:]).co_filename)"
    # Which would be compiled where they are, if it did not know better.
    words = ("-c", f"import json, email.parser, html; {say}")
    said = run_interpreter(
        store.nix, store.interpreter, words, standard_input=compiled.read_bytes()
    )
    assert said.decode() == f"{_PLACE}/package/module.py\n"
    describe_interpreter(store.nix, store.interpreter, _library())
    assert sorted(location.rglob("*")) == before


def test_what_it_says_when_it_fails(store: Store) -> None:
    """Its last words come with its path, also those of what is no Python."""
    with pytest.raises(InterpreterFailedError, match="last words") as caught:
        run_interpreter(store.nix, store.interpreter, ("-c", "raise SystemExit('last words')"))
    assert caught.value.interpreter == store.interpreter
    shell = f"{store.other}/bin/bash"
    with pytest.raises(InterpreterFailedError, match="invalid option") as caught:
        describe_interpreter(store.nix, shell, _library())
    assert str(caught.value).startswith(f"{shell} failed: ")


def test_bytes_do_not_depend_on_the_store(
    machine_nix: Nix, debian_closure: Mapping[str, str], tmp_path: Path
) -> None:
    """One key in the cache, so one result: whichever machine compiles."""
    elsewhere = machine_nix.chroot_store(tmp_path / "store")
    machine_nix.copy_closure([debian_closure["python"]], elsewhere)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "module.py").write_text("X = ('a', 1.5, {'x', 'y'})\nY = X[0] in {'a', None}\n")
    found = []
    for number, nix in enumerate((machine_nix, elsewhere)):
        variables = nix.environment({"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
        output = tmp_path / str(number)
        write_bytecode(
            CoreNix.find(variables),
            f"{debian_closure['python']}/bin/python3",
            str(tmp_path / "tree"),
            str(output),
            _PLACE,
        )
        (file,) = output.rglob("*.pyc")
        found.append(file.read_bytes())
    assert found[0] == found[1]


def test_any_program_of_the_store(store: Store, tmp_path: Path) -> None:
    """It is run in a directory, whose files it changes, and finds its libraries in both stores.

    It is told not to write bytecode, which root could into the store (here twice, as `-B` is for the machine's sake).
    """
    says = "import os; os.rename('x', 'y'); print(os.environ['PYTHONDONTWRITEBYTECODE'])"
    words = ("-B", "-c", says)
    run = ProgramRun((f"{store.other}/bin/nosuch", store.interpreter), True, words, str(tmp_path))
    (tmp_path / "x").write_text("")
    report = json.loads(run_on_files(run, lambda: store.nix))
    assert (report["status"], report["stdout"]) == (0, "1\n") and (tmp_path / "y").exists()
    lacks = ProgramRun((f"{store.other}/bin/nosuch",), True, (), str(tmp_path))
    with pytest.raises(ProgramMissingError, match="bin/nosuch"):
        run_on_files(lacks, lambda: store.nix)
