"""Tests of `nixoci.python.environment`: programs that start as their PEX file does, in a real environment."""

from __future__ import annotations

import json
import os
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


_WORKERS = """\
import multiprocessing, sys


def double(number):
    return 2 * number


def main():
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(double, [1, 2]), sys.argv[1:], flush=True)


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    "entry",
    [
        EntryPoint("package.workers"),
        EntryPoint("package.workers", "main"),
        EntryPoint(script="{place}/bin/workers"),
    ],
)
def test_workers_do_not_start_the_application_again(
    environment: Environment, entry: EntryPoint
) -> None:
    """Those of `multiprocessing` that are no copies load the program, too."""
    Path(environment.modules, "package", "workers.py").write_text(_WORKERS)
    script = Path(environment.place, "bin", "workers")
    call = "if __name__ == '__main__':\n    main()\n"
    script.write_text(f"{environment.shebang}from package.workers import main\n{call}")
    if entry.script:
        entry = EntryPoint(script=str(script))
    place = Path(environment.place, "pex")
    place.write_text(program(environment, entry))
    place.chmod(0o755)
    # Without the guard it would start processes without end: they get no time for it.
    variables: dict[str, str] = {}
    run = subprocess.run(
        [place, "given"], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == "spawn [2, 4] ['given']\nforkserver [2, 4] ['given']\n", run.stderr


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (EntryPoint("package.name"), "lib/python{version}/site-packages/package/name.py"),
        (EntryPoint("package.name", "show"), "pex"),
        (EntryPoint(script="{place}/bin/name"), "bin/name"),
    ],
)
def test_what_the_application_is_called(
    environment: Environment, entry: EntryPoint, name: str
) -> None:
    """As if it had been started without the program: a module has its file, a script its place."""
    text = "import sys\n\ndef show():\n    print(sys.argv[0])\n\nif __name__ == '__main__':\n    show()\n"
    Path(environment.modules, "package", "name.py").write_text(text)
    Path(environment.place, "bin", "name").write_text(text)
    if entry.script:
        entry = EntryPoint(script=entry.script.format(place=environment.place))
    run = _run(environment, entry)
    assert run.stdout == f"{environment.place}/{name.format(version=environment.version)}\n"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_bytes_that_are_no_text_come_whole(environment: Environment, locale: str) -> None:
    """Words and values of a command line need not be UTF-8."""
    Path(environment.modules, "package", "raw.py").write_text(
        "import os, sys\nprint(ascii([os.fsencode(sys.argv[1]), os.environb[b'RAW']]))\n"
    )
    raw = os.fsdecode(b"\xff'\n\xc3\xa9")
    run = _run(environment, EntryPoint("package.raw"), [raw], {"RAW": raw}, given={"LC_ALL": locale})
    assert run.stdout == ascii([os.fsencode(raw)] * 2) + "\n", run.stderr


def test_the_text_is_one_that_every_locale_reads() -> None:
    """No word makes a second line of it, and all of it is ASCII."""
    place, entry = Environment("/app", "3.11", "/python"), EntryPoint("module", "main")
    words = ["\n'", '"""', "\udcff", "\u2028", "\\"]
    text = program(place, entry, words, dict.fromkeys("ABC", "\n"))
    assert text.isascii()
    assert len(text.splitlines()) == len(program(place, entry).splitlines()) + 4
