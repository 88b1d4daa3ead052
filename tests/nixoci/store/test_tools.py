"""Tests of `nixoci.store.tools`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nixoci.errors import InvalidInputError
from nixoci.store.nix import NixNotFoundError, NixTooOldError
from nixoci.store.tools import (
    PACKAGES_FILE,
    PACKAGES_PYTHON_LINK,
    PYTHON_LINK,
    TOOLS_FILE,
    read_packages,
    read_tools,
    write_packages,
    write_tools,
)

from tests.nixoci.store.nix_support import environment, nix, program


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A later step runs the same Nix with the same environment."""
    environ = {**environment(tmp_path), "NIX_REMOTE": "auto", "EXTRA": "é\n"}
    directory = tmp_path / "a" / "tools"
    written = write_tools(str(directory), environ, ("NIX_CONFIG", "EXTRA", "ABSENT"))
    found = read_tools(str(directory / TOOLS_FILE))
    assert nix(tmp_path).directory == written.directory == found.directory
    assert environ == found.environment
    assert written.version() == found.version()


def test_only_named_variables_are_written(tmp_path: Path) -> None:
    """What Nix does not need stays out of the file, secrets above all."""
    environ = {**environment(tmp_path), "AWS_SECRET_ACCESS_KEY": "hunter2", "NIX_CONF_DIR": "/c"}
    write_tools(str(tmp_path / "t"), environ, ())
    text = (tmp_path / "t" / TOOLS_FILE).read_text()
    assert {"PATH", "HOME", "NIX_CONF_DIR"} == set(json.loads(text)["environment"])
    assert "hunter2" not in text


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    """Whatever the umask, as the user may have named variables that are secret."""
    before = os.umask(0)
    try:
        write_tools(str(tmp_path), environment(tmp_path), ())
    finally:
        os.umask(before)
    assert 0o600 == stat.S_IMODE((tmp_path / TOOLS_FILE).stat().st_mode)


def test_python_is_enough_where_nothing_needs_nix(tmp_path: Path) -> None:
    """What then needs Nix all the same hears that there is none, and not that a file is wrong."""
    assert write_tools(str(tmp_path), {"PATH": str(tmp_path)}, (), needs_nix=False) is None
    assert (tmp_path / PYTHON_LINK).exists()
    with pytest.raises(NixNotFoundError):
        read_tools(str(tmp_path / TOOLS_FILE))


def test_the_interpreter_is_this_one(tmp_path: Path) -> None:
    """The link starts the Python that wrote it."""
    write_tools(str(tmp_path), environment(tmp_path), ())
    command = [str(tmp_path / PYTHON_LINK), "-I", "-S", "-c", "import sys; print(sys.version)"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    assert sys.version == output.rstrip("\n")


def test_writing_again_replaces(tmp_path: Path) -> None:
    """The second description counts, and nothing temporary is left behind."""
    for home in ("one", "two"):
        write_tools(str(tmp_path / "t"), {**environment(tmp_path), "HOME": home}, ())
    assert "two" == read_tools(str(tmp_path / "t" / TOOLS_FILE)).environment["HOME"]
    assert {TOOLS_FILE, PYTHON_LINK} == set(os.listdir(tmp_path / "t"))


def test_without_a_nix_nothing_is_written(tmp_path: Path) -> None:
    """No Nix, or one that is too old, is found out before there is a file."""
    with pytest.raises(NixNotFoundError):
        write_tools(str(tmp_path / "t"), {"PATH": ""}, ())
    old = program(tmp_path / "old", "nix", "echo 'nix (Nix) 2.3.16'")
    with pytest.raises(NixTooOldError):
        write_tools(str(tmp_path / "t"), {"PATH": str(old)}, ())
    assert not (tmp_path / "t").exists()


def test_tools_that_are_gone(tmp_path: Path) -> None:
    """No file, or no Nix where it says: the error that a caller fixes by looking for Nix again."""
    with pytest.raises(NixNotFoundError):
        read_tools(str(tmp_path / "nosuch" / TOOLS_FILE))
    file = tmp_path / TOOLS_FILE
    file.write_text(json.dumps({"nix": str(tmp_path), "environment": {}}))
    with pytest.raises(NixNotFoundError) as caught:
        read_tools(str(file))
    assert str(tmp_path) == caught.value.search_path


@pytest.mark.parametrize(
    "document",
    ["", "{", [], {}, {"nix": 1}, {"nix": "{nix}"}, {"nix": "{nix}", "environment": []}],
)
def test_another_document_is_refused(tmp_path: Path, document: Any) -> None:
    """What `write_tools` did not write is bad input."""
    text = document if isinstance(document, str) else json.dumps(document)
    file = tmp_path / TOOLS_FILE
    file.write_text(text.replace("{nix}", nix(tmp_path).directory))
    with pytest.raises(InvalidInputError):
        read_tools(str(file))


@pytest.mark.parametrize("field", ("environment", "settings"))
@pytest.mark.parametrize(
    "value",
    ({"A": 1}, {"A": "sesame\0"}, {"A": "sesame\ud800"}, {"A=B": "sesame"}, {"": "sesame"}, {"A": ["sesame"]}, "x"),
    ids=repr,
)
def test_what_no_process_can_be_given_is_refused(tmp_path: Path, field: str, value: object) -> None:
    """It is said which variable it is, and not which value it has."""
    write_tools(str(tmp_path), environment(tmp_path))
    file = tmp_path / TOOLS_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    with pytest.raises(InvalidInputError) as caught:
        read_tools(str(file))
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("end", (10, 1, 0), ids=("cut", "open", "list"))
def test_files_that_are_wrong_are_not_shown(tmp_path: Path, end: int) -> None:
    """Only their names are: they may have variables that are secret."""
    environ = {**environment(tmp_path), "A": "sesame"}
    write_tools(str(tmp_path), environ, ("A",))
    file = tmp_path / TOOLS_FILE
    document = json.loads(file.read_text())
    text = json.dumps({"environment": document["environment"]})
    file.write_text(text[:-end] if end else json.dumps({**document, "environment": ["sesame"]}))
    with pytest.raises(InvalidInputError) as caught:
        read_tools(str(file))
    assert "sesame" not in f"{caught.value}{vars(caught.value)}"


def test_bytes_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    environ = {**environment(tmp_path), "EXTRA": os.fsdecode(b"/\xff")}
    write_tools(str(tmp_path), environ, ("EXTRA",))
    assert read_tools(str(tmp_path / TOOLS_FILE)).environment["EXTRA"] == "/\udcff"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name in (TOOLS_FILE, PACKAGES_FILE):
        (tmp_path / name).mkdir()
    with pytest.raises(InvalidInputError, match="tools.json"):
        read_tools(str(tmp_path / TOOLS_FILE))
    with pytest.raises(InvalidInputError, match="packages.json"):
        read_packages(str(tmp_path / TOOLS_FILE))


def test_packages_come_with_their_interpreter(tmp_path: Path) -> None:
    """The link starts it, and the file says where it finds them; without both there are none."""
    tools = str(tmp_path / TOOLS_FILE)
    assert read_packages(tools) == []
    write_packages(str(tmp_path), sys.executable, ["/some/where", "/else/where"])
    assert read_packages(tools) == ["/some/where", "/else/where"]
    assert os.path.realpath(tmp_path / PACKAGES_PYTHON_LINK) == os.path.realpath(sys.executable)
    (tmp_path / PACKAGES_FILE).write_text('{"directories": [1]}')
    with pytest.raises(InvalidInputError):
        read_packages(tools)
