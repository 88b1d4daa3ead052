"""The rooms of the house stand as `docs/architecture.md` draws them.

The floors are the contracts in `.importlinter`. Imports inside of functions count, and those for type
checkers too.
"""

from __future__ import annotations

import ast
import re
import os
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import nixoci
import pytest
from pants_backend_nix.rules.core.zipapp import LEFT_OUT, NOT_IN_STEPS

PACKAGES = ("nixoci", "pants_backend_nix")
SOURCES = Path(nixoci.__path__[0]).parent
CONTRACTS = Path(__file__).parents[1] / ".importlinter"

#: A folder with more modules is two rooms.
MOST_MODULES = 14

ROOMS = sorted(
    directory
    for package in PACKAGES
    for directory in [SOURCES / package, *(SOURCES / package).rglob("*")]
    if any(directory.glob("*.py"))
)


def names_of_rooms() -> list[str]:
    return [room.relative_to(SOURCES).as_posix() for room in ROOMS]


def lint(sources: Path) -> tuple[int, str]:
    """Holds the sources against the contracts; returns the exit status and what was printed."""
    program = "from importlinter.cli import lint_imports_command as run; run()"
    result = subprocess.run(
        [sys.executable, "-c", program, "--config", str(CONTRACTS), "--no-cache"],
        cwd=sources,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(sources), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout


def test_contracts_are_kept() -> None:
    """No import runs back up."""
    status, output = lint(SOURCES)
    assert status == 0, output


@pytest.mark.parametrize(
    "module, line",
    [
        ("nixoci/store/path.py", "import nixoci.image.image"),
        ("nixoci/registry/http/retry.py", "from nixoci.registry.push import push"),
        ("nixoci/errors.py", "def late() -> None:\n    import nixoci.cli.main"),
        ("nixoci/atomic.py", "import pants_backend_nix.errors"),
        ("pants_backend_nix/targets/interpolation.py", "import pants_backend_nix.rules.core.run"),
        ("pants_backend_nix/rules/core/place.py", "import pants_backend_nix.rules.flow.split"),
    ],
)
def test_an_import_that_runs_back_up_breaks_a_contract(
    tmp_path: Path, module: str, line: str
) -> None:
    """The contracts can fail: with one more import each."""
    for package in PACKAGES:
        shutil.copytree(SOURCES / package, tmp_path / package)
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{line}\n")
    status, output = lint(tmp_path)
    assert status == 1 and "BROKEN" in output, output


def test_files_import_each_other_in_no_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    modules = {
        module: graph.find_modules_directly_imported_by(module) for module in graph.modules
    }
    # Raises an error that names the circle.
    TopologicalSorter(modules).prepare()


@pytest.mark.parametrize("room", ROOMS, ids=names_of_rooms())
def test_rooms_are_small_and_say_what_they_are_for(room: Path) -> None:
    """A room's `__init__.py` is one docstring: what comes in, what goes out, which rooms it uses."""
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES
    tree = ast.parse((room / "__init__.py").read_text())
    assert ast.get_docstring(tree), f"{room} has no docstring"
    # Whoever imports a module of a room imports its `__init__.py` first, in every build step.
    # A function is not run by that; it is there for `pants_backend_nix.__version__`.
    assert [node for node in tree.body[1:] if getattr(node, "name", "") != "__getattr__"] == []


def test_commands_do_without_what_is_left_out() -> None:
    """So it is not in the program that steps run, and in no key of theirs."""
    core = SOURCES / "nixoci"
    left_out = [re.escape(name.replace("/", ".").replace(".py", "")) for name in LEFT_OUT]
    for path in core.rglob("*.py"):
        if not path.relative_to(core).as_posix().startswith(LEFT_OUT):
            text = path.read_text()
            if path.name == "parser.py":
                # There, `nixoci --version` says that it has none.
                text = text.replace("nixoci.version import", "")
            for name in left_out:
                assert not re.search(rf"(from|import) nixoci\.{name}\b", text), (path, name)
            assert "nixoci.report" not in text, path


def test_steps_do_without_what_is_not_in_their_program() -> None:
    """No module of the steps' program imports what it has not, but where it says which command that is for."""
    core = SOURCES / "nixoci"
    rooms = [name.rstrip("/").replace("/", ".").replace(".py", "") for name in NOT_IN_STEPS]
    lazily = {"cli/parser.py", "cli/commands/options.py"}
    for path in core.rglob("*.py"):
        place = path.relative_to(core).as_posix()
        if place.startswith((*LEFT_OUT, *NOT_IN_STEPS)) or place in lazily:
            continue
        text = path.read_text()
        for room in rooms:
            assert not re.search(rf"(from|import) nixoci\.{room}\b", text), (place, room)
