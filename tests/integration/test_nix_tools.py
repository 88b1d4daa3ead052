"""Formatters and linters of Nix files with `fmt`, `lint` and `fix`: real ones, and those of a package."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.nix_tools import nix_tools

_BACKENDS = [f"pants_backend_nix.{name}" for name in ("nixfmt", "statix", "deadnix")]

_UNTIDY = "{ a , b }:\nlet\n  unused = 1;\nin\na\n"
_FORMATTED = "{ a, b }:\nlet\n  unused = 1;\nin\na\n"
_DEAD = "{ a }:\nlet\n  unused = 1;\nin\na\n"

#: A formatter and a linter with the command lines of nixfmt and statix, which only Nix builds here.
_TOOLS = """\
{ system }: derivation {
  name = "tools-WORD"; inherit system; builder = "/bin/sh";
  nixfmt = ''
    #!/bin/sh
    for file; do
      ! grep -q SYNTAX "$file" || { echo "$file: a syntax error" >&2; exit 1; }
      sed 's/	/  /g' "$file" >"$file.new" && mv "$file.new" "$file"
    done
  '';
  statix = ''
    #!/bin/sh
    [ "$2" = --config ] && config=$(cat "$3") && [ "$4" = . ] || exit 2
    if [ "$1" = fix ]; then exec sed -i 's/ == true//' $(find . -name '*.nix'); fi
    [ "$config" != off ] || exit 0
    ! grep -rn "== true" .
  '';
  args = [ "-e" "-c" ''
    PATH=/usr/bin:/bin
    mkdir -p $out/bin
    printf '%s\\n' "$nixfmt" >$out/bin/nixfmt
    printf '%s\\n' "$statix" >$out/bin/statix
    chmod 555 $out/bin/*
  '' ];
}
"""


@pytest.fixture(scope="module")
def monorepo(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monorepo]:
    found = Monorepo.create(tmp_path_factory.mktemp("nix-tools"), machine_nix)
    config = found.root / "pants.toml"
    backends = ["pants_backend_nix", *_BACKENDS]
    config.write_text(config.read_text().replace('["pants_backend_nix"]', str(backends)))
    found.write("tools/BUILD", 'nix_package(name="tools", source="default.nix", skip_nixfmt=True)\n')
    found.write("tools/default.nix", _TOOLS.replace("WORD", uuid.uuid4().hex))
    with found.with_daemon() as daemon:
        yield daemon


@pytest.fixture()
def directory(monorepo: Monorepo, request: pytest.FixtureRequest) -> str:
    """An own directory in the monorepo."""
    return request.node.name.replace("[", "_").replace("]", "_")


def _real(*more: str) -> tuple[str, ...]:
    """Options for the real programs, in the place of those that are not to be had."""
    places = [str(nix_tools()), "<PATH>"]
    return (f"--nix-search-path={places}", "--nixfmt-program=nixpkgs-fmt", "--statix-skip", *more)


def _packaged(*more: str) -> tuple[str, ...]:
    """Options for the programs of the package."""
    package = "tools:tools"
    return (f"--nixfmt-package={package}", f"--statix-package={package}", "--deadnix-skip", *more)


def _tools_path(nix: Nix, monorepo: Monorepo) -> str:
    """The store path of the package, which is built."""
    file = monorepo.root / "tools/default.nix"
    return nix.run("nix-build", "--no-out-link", file, "--argstr", "system", "x86_64-linux").strip()


def test_the_program_of_this_machine(monorepo: Monorepo, directory: str) -> None:
    """All Nix files of targets, each once, whoever has it as well; those of `skip_nixfmt` are left alone."""
    files = {
        f"{directory}/package.nix": _UNTIDY,
        f"{directory}/own.nix": _UNTIDY,
        f"{directory}/nested/x.nix": _UNTIDY,
        f"{directory}/-dash.nix": _UNTIDY,
        f"{directory}/left.nix": _UNTIDY,
        f"{directory}/shared.nix": _UNTIDY,
        f"{directory}/flake.lock": "{ }",
        f"{directory}/nobody.nix": _UNTIDY,
    }
    for name, text in files.items():
        monorepo.write(name, text)
    monorepo.write(
        f"{directory}/BUILD",
        'nix_sources(name="s", sources=["own.nix", "-dash.nix", "nested/*.nix", "flake.lock", "package.nix"])\n'
        'nix_package(name="p", source="package.nix", attr="a")\n'
        'nix_package(name="only", source="own.nix", attr="a")\n'
        'nix_sources(name="left", sources=["left.nix"], skip_nixfmt=True)\n'
        'nix_source(name="skipped", source="shared.nix", skip_nixfmt=True)\n'
        'nix_package(name="shared", source="shared.nix")\n'
        'nix_package(name="path", store_path="/nix/store/00000000000000000000000000000000-x")\n',
    )
    lint = monorepo.pants(*_real("--deadnix-skip", "lint", f"{directory}::"), check=False)
    assert lint.result.returncode == 1 and "✕ nixfmt failed" in lint.stderr
    assert all((monorepo.root / name).read_text() == text for name, text in files.items())
    run = monorepo.pants(*_real("fmt", f"{directory}::"))
    assert "nixfmt made changes" in run.stderr
    changed = {name for name, text in files.items() if (monorepo.root / name).read_text() != text}
    names = ("package.nix", "own.nix", "nested/x.nix", "-dash.nix")
    assert changed == {f"{directory}/{name}" for name in names}
    assert all((monorepo.root / name).read_text() == _FORMATTED for name in changed)
    again = monorepo.pants(*_real("--deadnix-skip", "fmt", "lint", f"{directory}::"))
    assert "nixfmt made no changes" in again.stderr and "✓ nixfmt succeeded" in again.stderr
    # With them alone: somebody who wants it can have it.
    monorepo.pants(*_real("fmt", f"{directory}:shared"))
    assert (monorepo.root / f"{directory}/shared.nix").read_text() == _FORMATTED


def test_dead_code(monorepo: Monorepo, directory: str) -> None:
    """Also a file that cannot be read is a failure, for which deadnix has no status."""
    monorepo.write(f"{directory}/x.nix", _DEAD)
    monorepo.write(f"{directory}/BUILD", 'nix_source(name="s", source="x.nix")\n')
    run = monorepo.pants(*_real("--nixfmt-skip", "lint", f"{directory}::"), check=False)
    assert run.result.returncode == 1 and "✕ deadnix failed" in run.stderr
    assert f"{directory}/x.nix:3:3" in run.stderr and "Unused let binding: unused" in run.stderr
    assert "\x1b" not in run.stderr
    assert "deadnix" not in monorepo.pants(*_real("--nixfmt-skip", "fix", f"{directory}::")).stderr
    monorepo.pants(*_real("--deadnix-fix", "fix", "lint", f"{directory}::"))
    assert (monorepo.root / f"{directory}/x.nix").read_text() == "{ a }:\na\n"
    monorepo.write(f"{directory}/x.nix", "_a: { }\n")
    unused = monorepo.pants(*_real("--deadnix-args=--no-underscore", "--nixfmt-skip", "lint", f"{directory}::"))
    assert "✓ deadnix succeeded" in unused.stderr
    monorepo.write(f"{directory}/x.nix", "{ a")
    # The fixer, for which that is an error, has no part in it.
    broken = monorepo.pants(*_real("--nixfmt-skip", "--deadnix-fix", "lint", f"{directory}::"), check=False)
    assert broken.result.returncode == 1 and "✕ deadnix failed" in broken.stderr
    assert "Error parsing file" in broken.stderr and "Exception" not in broken.stderr
    error = monorepo.pants(*_real("--deadnix-fix", "fix", f"{directory}::"), check=False).error
    assert "deadnix failed on 1 file" in error and "Error parsing file" in error
    assert "set `skip_deadnix=True`" in error and (monorepo.root / f"{directory}/x.nix").read_text() == "{ a"


def test_another_version_at_the_same_place(
    monorepo: Monorepo, directory: str, tmp_path: Path
) -> None:
    """The program, and what a script starts, are in the key: a result of another version is none of this one."""
    for name, target in (("script", "real"), ("real", "")):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {tmp_path}/{target} "$@"\n')
        (tmp_path / name).chmod(0o755)

    def format_with(version: str) -> PantsRun:
        program = f'#!/bin/sh\n[ "$1" != --version ] || exec echo {version}\necho {version} >"$1"\n'
        (tmp_path / "real").write_text(program)
        return monorepo.pants(f"--nixfmt-program={tmp_path}/script", "fmt", f"{directory}::")

    monorepo.write(f"{directory}/BUILD", 'nix_source(name="s", source="x.nix")\n')
    for version, has_run in (("one", True), ("two", True), ("one", False)):
        monorepo.write(f"{directory}/x.nix", "{ }\n")
        run = format_with(version)
        assert (monorepo.root / f"{directory}/x.nix").read_text() == f"{version}\n"
        assert bool(run.processes("Run nixfmt on ")) == has_run


def test_programs_that_are_missing(monorepo: Monorepo, directory: str) -> None:
    """Each is named once in a command, with what to do, and nothing fails."""
    monorepo.write(f"{directory}/BUILD", 'nix_source(name="s", source="x.nix")\n')
    monorepo.write(f"{directory}/x.nix", _UNTIDY)
    options = (f"--nix-search-path=['{monorepo.root}/tools']", "--statix-fix", "--deadnix-fix")
    run = monorepo.pants(*options, "--deadnix-program=/nosuch/deadnix", "fix", "fmt", "lint", f"{directory}::")
    text = " ".join(run.stderr.split())
    for name in ("nixfmt", "statix"):
        said = f"{name} was not found in the directories of `[nix].search_path`, so {name} is skipped."
        assert text.count(said) == 1 and f"set `[{name}].package` to a `nix_package`" in text
    assert text.count("/nosuch/deadnix was not found, so deadnix is skipped.") == 1
    assert (monorepo.root / f"{directory}/x.nix").read_text() == _UNTIDY
    # Nobody is told of programs that there is no use for.
    assert "not found" not in monorepo.pants(*options, "lint", f"{directory}/BUILD").stderr


def test_the_program_of_a_package(monorepo: Monorepo, directory: str, machine_nix: Nix) -> None:
    """It is built when it has to run, and not where a cache knows what it would do."""
    monorepo.write(f"{directory}/BUILD", 'nix_sources(name="s")\n')
    monorepo.write(f"{directory}/x.nix", "{\n\ta = b == true;\n}\n")
    lint = monorepo.pants(*_packaged("lint", f"{directory}::"), check=False)
    assert lint.processes("Build tools:tools") and lint.result.returncode == 1
    assert "✕ nixfmt failed" in lint.stderr and "./x.nix:2" in lint.stderr.replace(f"{directory}/", "")
    monorepo.write(f"{directory}/mine.toml", "off\n")
    config = _packaged(f"--statix-config={directory}/mine.toml", "lint", f"{directory}::")
    assert "✓ statix succeeded" in monorepo.pants(*config, check=False).stderr
    missing = monorepo.pants(*_packaged("--statix-config=nosuch", "lint", f"{directory}::"), check=False)
    assert "nosuch" in missing.error and "scope 'statix'" in missing.error
    monorepo.write("statix.toml", "off\n")
    assert "✓ statix succeeded" in monorepo.pants(*_packaged("lint", f"{directory}::"), check=False).stderr
    monorepo.pants(*_packaged("--statix-fix", "fix", f"{directory}::"))
    assert (monorepo.root / f"{directory}/x.nix").read_text() == "{\n  a = b;\n}\n"

    monorepo.pants(*_packaged("lint", f"{directory}::"))
    path = _tools_path(machine_nix, monorepo)
    machine_nix.run("nix-store", "--delete", path)
    for answers in (monorepo.cache / "named").glob("*/answers"):
        shutil.rmtree(answers)
    cold = monorepo.pants(*_packaged("lint", f"{directory}::"), daemon=False)
    assert cold.started == () and "✓ nixfmt succeeded" in cold.stderr and "✓ statix succeeded" in cold.stderr
    assert not os.path.exists(path)
    monorepo.write(f"{directory}/y.nix", "{\n\ta = 1;\n}\n")
    later = monorepo.pants(*_packaged("fmt", f"{directory}::"))
    assert later.processes("Build tools:tools") and os.path.exists(path)
    assert (monorepo.root / f"{directory}/y.nix").read_text() == "{\n  a = 1;\n}\n"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--nixfmt-package=DIR:s", "The option `[nixfmt].package` names DIR:s, which is a `nix_source`."),
        ("--nixfmt-package=DIR:nosuch", "the option `[nixfmt].package`"),
        ("--nixfmt-program=a/b", "The option `[nixfmt].program` is 'a/b'. It is the name of a program, or"),
        ("--nixfmt-program=/bin/x --nixfmt-package=tools:tools", "is '/bin/x'. With `[nixfmt].package` it"),
        ("--nixfmt-program=nosuch --nixfmt-package=tools:tools", "bin/nosuch. Its `outputs` must have"),
        ("--nixfmt-package=tools:tools", "nixfmt failed on 1 file (exit status 1)."),
        ("--nixfmt-program=ROOT/DIR/elf", "does not run on this machine: Exec format error. Correct"),
    ],
)
def test_errors(monorepo: Monorepo, option: str, said: str) -> None:
    directory = "errors"
    monorepo.write(f"{directory}/BUILD", 'nix_source(name="s", source="x.nix")\n')
    monorepo.write(f"{directory}/x.nix", "SYNTAX\n")
    monorepo.write(f"{directory}/elf", "\x7fELF of another machine")
    (monorepo.root / directory / "elf").chmod(0o755)
    option = option.replace("DIR", directory).replace("ROOT", str(monorepo.root))
    run = monorepo.pants("--statix-skip", "--deadnix-skip", *option.split(), "fmt", f"{directory}::", check=False)
    assert run.result.returncode == 1 and said.replace("DIR", directory) in run.error
    if "exit status" in said:
        assert "errors/x.nix: a syntax error" in run.error
