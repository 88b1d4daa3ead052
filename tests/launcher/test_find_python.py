"""Where the launcher looks for an interpreter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.launcher.conftest import ROOT


def find_python(**environment: str | Path) -> tuple[str, str]:
    """Returns path and origin of what `find_python` finds in this environment, or two `""`."""
    script = f'set -eu; . "{ROOT}/build-support/find-python.sh"; find_python; '
    output = subprocess.run(
        ["/bin/sh", "-c", script + 'printf "%s\\n%s" "$python" "$python_origin"'],
        env={name: str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    python, origin = output.split("\n")
    return python, origin


@pytest.fixture
def interpreter(python_directory: Path) -> Path:
    return python_directory / "python3.9"


def install(interpreter: Path, place: Path) -> Path:
    """Puts the interpreter at `place`, whose directories are made."""
    place.parent.mkdir(parents=True)
    place.symlink_to(interpreter)
    return place


def test_path_comes_first(interpreter: Path, tmp_path: Path) -> None:
    """The first python3.9 of PATH wins over the ones of pyenv and uv."""
    install(interpreter, tmp_path / ".pyenv/versions/3.9.1/bin/python3.9")
    install(interpreter, tmp_path / "second/python3.9")
    first = install(interpreter, tmp_path / "a first/python3.9")
    path = f"{tmp_path}/none:{first.parent}:{tmp_path}/second"
    assert find_python(PATH=path, HOME=tmp_path) == (str(first), "path")


def test_shims_and_relative_directories_are_passed_over(interpreter: Path, tmp_path: Path) -> None:
    """A shim may lead nowhere, and a relative entry of PATH to anything."""
    install(interpreter, tmp_path / ".pyenv/shims/python3.9")
    assert find_python(PATH=f"{tmp_path}/.pyenv/shims:.:bin", HOME=tmp_path) == ("", "")


@pytest.mark.parametrize("from_variable", [False, True])
def test_pyenv(interpreter: Path, tmp_path: Path, from_variable: bool) -> None:
    """A version under PYENV_ROOT or ~/.pyenv is found, also where it is not switched on."""
    root = tmp_path / ("some where" if from_variable else ".pyenv")
    install(interpreter, root / "versions/3.10.2/bin/python3.10")
    python = install(interpreter, root / "versions/3.9.18/bin/python3.9")
    variables = {"PYENV_ROOT": root} if from_variable else {}
    assert find_python(PATH="/none", HOME=tmp_path, **variables) == (str(python), "pyenv")


@pytest.mark.parametrize(
    "variable, directory",
    [
        (None, ".local/share/uv/python"),
        ("XDG_DATA_HOME", "uv/python"),
        ("UV_PYTHON_INSTALL_DIR", "."),
    ],
)
def test_uv(interpreter: Path, tmp_path: Path, variable: str | None, directory: str) -> None:
    """A Python that uv manages is found where uv keeps it."""
    base = tmp_path / "some where"
    name = "cpython-3.9.21-linux-x86_64-gnu/bin/python3.9"
    python = install(interpreter, base / directory / name)
    variables = {"HOME": base} if variable is None else {"HOME": tmp_path, variable: base}
    found, origin = find_python(PATH="/none", **variables)
    assert (Path(found), origin) == (python, "uv")
