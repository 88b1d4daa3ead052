"""Tests of `nixoci.python.environment`: programs that start as their PEX file does, in a real environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Mapping, Optional, Sequence

import pytest
from nixoci.python.environment import EntryPoint, Environment, program

_MODULE = """\
import json, os, sys


class Main:
    @staticmethod
    def run():
        print(json.dumps([sys.argv[1:], dict(os.environ), sys.path, sys.prefix], sort_keys=True))
        return 7


if __name__ == "__main__":
    Main.run()
"""


@pytest.fixture(name="environment")
def _environment(tmp_path: Path) -> Environment:
    """A virtual environment of the interpreter of this test, with a module and scripts."""
    version = ".".join(map(str, sys.version_info[:2]))
    interpreter = f"{sys.base_prefix}/bin/python{version}"
    made = Environment(str(tmp_path / "app"), version, interpreter)
    modules = Path(made.modules)
    (modules / "package").mkdir(parents=True)
    (modules / "package" / "module.py").write_text(_MODULE)
    (Path(made.place) / "pyvenv.cfg").write_text(made.configuration)
    (Path(made.place) / "bin").mkdir()
    for path, target in made.links.items():
        (Path(made.place) / path).symlink_to(target)
    scripts = {
        "python-script": f"{made.shebang}from package.module import Main\nraise SystemExit(Main.run())\n",
        "shell-script": '#!/bin/sh\necho "[\\"$1\\"]"\n',
    }
    for name, text in scripts.items():
        (Path(made.place) / "bin" / name).write_text(text)
        (Path(made.place) / "bin" / name).chmod(0o755)
    return made


def _run(
    environment: Environment,
    entry: Optional[EntryPoint],
    words: Sequence[str] = (),
    variables: Mapping[str, str] = {},
    **more: Mapping[str, str],
) -> subprocess.CompletedProcess[str]:
    place = Path(environment.place, "pex")
    place.write_text(program(environment, entry, words, variables))
    place.chmod(0o755)
    return subprocess.run(
        [place, "given"], env=more.get("given", {}), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (EntryPoint("package.module"), 0),
        (EntryPoint("package.module", "Main.run"), 7),
        (EntryPoint(script="{place}/bin/python-script"), 7),
    ],
)
def test_it_starts_with_its_arguments(
    environment: Environment, entry: EntryPoint, status: int
) -> None:
    """A module, a function in a class, and a script; words and values of all kinds come whole."""
    if entry.script:
        entry = EntryPoint(script=entry.script.format(place=environment.place))
    words = ["it's", 'a "quote"', "two\nlines", "\u00e9\U0001f600", "\\x"]
    run = _run(environment, entry, words, {"NEW": "a 'b' \u00e9", "OLD": "no"}, given={"OLD": "yes"})
    arguments, variables, path, prefix = json.loads(run.stdout)
    assert arguments == [*words, "given"]
    assert (variables["NEW"], variables["OLD"]) == ("a 'b' \u00e9", "yes")
    assert environment.place not in path and environment.modules in path
    assert prefix == environment.place
    assert run.returncode == status


def test_another_script_is_executed(environment: Environment) -> None:
    entry = EntryPoint(script=f"{environment.place}/bin/shell-script", is_python=False)
    assert _run(environment, entry).stdout == '["given"]\n'


def test_without_an_entry_point_it_is_the_interpreter(environment: Environment) -> None:
    place = Path(environment.place, "pex")
    place.write_text(program(environment, None))
    place.chmod(0o755)
    command = [place, "-c", "import package.module, sys; print(sys.flags.ignore_environment)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


def test_nothing_of_the_users_python_counts(environment: Environment, tmp_path: Path) -> None:
    """Neither `PYTHONPATH` nor a module beside the caller."""
    (tmp_path / "package.py").write_text("raise SystemExit('wrong')\n")
    run = _run(environment, EntryPoint("package.module"), given={"PYTHONPATH": str(tmp_path)})
    assert run.returncode == 0
