"""Tests of `nixoci.cli.parser`: what of the commands is imported, and when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nixoci
import pytest
from nixoci.cli.commands import (
    elf,
    engines,
    images,
    layers,
    locks,
    many,
    program,
    python,
    registries,
    sources,
)
from nixoci.cli.main import main
from nixoci.cli.parser import make_parser

_MODULES = (sources, many, locks, layers, python, program, elf, images, registries, engines)
_COMMANDS = [name for module in _MODULES for name in module.COMMANDS]


def _imported(*words: str) -> set[str]:
    """Returns the modules with commands that a process imports to parse `words`."""
    script = """
import sys
from nixoci.cli.parser import make_parser
try:
    make_parser().parse_args(sys.argv[1:])
except SystemExit:
    pass
print(*(name for name in sys.modules if name.startswith("nixoci.cli.commands.")), file=sys.stderr)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=Path(nixoci.__file__).parent.parent,
    )
    names = {name.rpartition(".")[2] for name in result.stderr.decode().splitlines()[-1].split()}
    return names - {"files", "options"}


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (("split", "--help"), "sources"),
        (("--tools", "push", "--json-errors", "digest", "recipe"), "layers"),
        (("lock-flake", "digest"), "locks"),
        (("elf-facts", "digest"), "elf"),
        (("python-bytecode", "split"), "python"),
        (("run-program", "run"), "program"),
        (("verify",), "images"),
        (("push", "descriptor", "--mount-from", "split"), "registries"),
        (("run", "--bogus"), "engines"),
    ],
)
def test_only_module_of_command_is_imported(words: tuple[str, ...], module: str) -> None:
    assert {module} == _imported(*words)


@pytest.mark.parametrize("words", [(), ("--help",), ("--help", "split"), ("bogus",)])
def test_no_command_imports_nothing(words: tuple[str, ...]) -> None:
    assert set() == _imported(*words)


@pytest.mark.parametrize("name", _COMMANDS)
def test_each_command_has_its_options(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args([name, "--help"])
    assert not caught.value.code
    assert f"usage: nixoci {name} [" in capfd.readouterr().out


def test_unknown_command_is_told_all(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(["bogus"])
    assert 2 == caught.value.code
    told = capfd.readouterr().err.partition("choose from ")[2].strip().rstrip(")")
    assert _COMMANDS == [name.strip("'") for name in told.split(", ")]


def test_one_command_is_parsed_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """Its parser, and no other, is made; help on all commands has all, whatever follows."""
    assert make_parser("closure").parse_args(["closure", "a"]).run is sources.closure
    with pytest.raises(SystemExit):
        make_parser("closure").parse_args(["split", "a"])
    with pytest.raises(SystemExit):
        make_parser("bogus").parse_args(["bogus"])
    capfd.readouterr()
    for words in (["--help", "push"], ["-h"], ["--tools", "push", "--help", "push"]):
        with pytest.raises(SystemExit):
            main(words)
        told = capfd.readouterr().out.split()
        assert [name for name in _COMMANDS if name not in told] == []


def test_parser_parses_again() -> None:
    parser = make_parser()
    first, second = (parser.parse_args(["closure", path]) for path in ("a", "b"))
    assert (["a"], ["b"]) == (first.paths, second.paths)
    assert first.run is second.run is sources.closure
