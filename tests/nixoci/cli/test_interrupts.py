"""Tests of interrupts: from the first thing that the program does, they are one line and a status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipapp
from pathlib import Path

import nixoci
import pytest

_SOURCES = Path(nixoci.__file__).parents[1]

#: Python imports it before it runs a program. It sends the interrupt that a terminal would, when a module is
#: imported, or when the program has called so many functions. With 0 there is none, and the number of calls is said.
_SITE = """
import atexit, os, signal, sys

when = os.environ["INTERRUPT"]

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == when:
            interrupt()

calls = -1

def count(frame, event, argument):
    global calls
    if event != "call":
        return
    if calls < 0 and frame.f_code.co_name == "console":
        calls = 0
    elif calls >= 0:
        calls += 1
        if calls == int(when):
            sys.setprofile(None)
            interrupt()

if when.isdigit():
    sys.setprofile(count)
    if when == "0":
        atexit.register(lambda: print(calls, file=sys.stderr))
else:
    sys.meta_path.insert(0, Finder())
"""

_MODULE = [sys.executable, "-m", "nixoci"]
#: What pip makes of an entry point.
_SCRIPT = [
    *(sys.executable, "-c"),
    "import sys; from nixoci.__main__ import console; sys.exit(console())",
]


def run(directory: Path, start: list[str], when: str) -> subprocess.CompletedProcess[str]:
    (directory / "site").mkdir(exist_ok=True)
    (directory / "site" / "sitecustomize.py").write_text(_SITE)
    request = {"graph": [], "max_layers": 1}
    return subprocess.run(
        [*start, "split"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={
            "PYTHONPATH": f"{directory / 'site'}:{_SOURCES}",
            "PATH": os.environ["PATH"],
            "INTERRUPT": when,
        },
        check=False,
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program that Pants runs: its first file is `nixoci/__main__.py`."""
    target = tmp_path_factory.mktemp("archive") / "nixoci.pyz"
    tree = target.parent / "tree"
    tree.mkdir()
    (tree / "nixoci").symlink_to(_SOURCES / "nixoci")
    (tree / "__main__.py").write_bytes((_SOURCES / "nixoci" / "__main__.py").read_bytes())
    zipapp.create_archive(tree, target, filter=lambda path: path.suffix == ".py")
    return [sys.executable, str(target)]


_MODULES = [
    "nixoci.cli.main",
    "nixoci.atomic",
    "nixoci.errors",
    "nixoci.cli.parser",
    "argparse",
    "nixoci.cli.commands.sources",
    "nixoci.layering.document",
]


@pytest.mark.parametrize("module", _MODULES)
@pytest.mark.parametrize("way", ["module", "archive", "script"])
def test_while_something_is_imported(
    tmp_path: Path, archive: list[str], way: str, module: str
) -> None:
    start = {"module": _MODULE, "archive": archive, "script": _SCRIPT}[way]
    result = run(tmp_path, start, module)
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "nixoci: interrupted\n"


@pytest.fixture(scope="module")
def all_calls(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many functions the program calls if nothing interrupts it: fewer with newer versions of Python."""
    directory = tmp_path_factory.mktemp("calls")
    # The second time, all modules are compiled.
    result = [run(directory, _MODULE, "0") for _ in range(2)][-1]
    assert (result.returncode, json.loads(result.stdout)) == (0, {"layers": []})
    return int(result.stderr)


@pytest.mark.parametrize("share", [0, 0.001, 0.004, 0.01, 0.03, 0.1, 0.3, 0.6, 0.8])
def test_at_any_moment(tmp_path: Path, all_calls: int, share: float) -> None:
    """Also in the middle of the parser, or of the command."""
    result = run(tmp_path, _MODULE, str(int(all_calls * share) or 1))
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "nixoci: interrupted\n"
