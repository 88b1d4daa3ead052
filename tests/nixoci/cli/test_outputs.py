"""Tests of the outputs of commands: files that cannot be written, and a standard output that is full or closed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import nixoci
import pytest
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import descriptor_json
from nixoci.image.image import assemble
from nixoci.store.closure import ClosureGraph

from tests.nixoci.store.closure_support import info
from tests.nixoci.store.nix_support import environment

GRAPH = ClosureGraph([info("a")])


class Command:
    """Runs `python -m nixoci` in a directory with some inputs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **environment(directory),
            "PYTHONPATH": str(Path(nixoci.__file__).parents[1]),
        }
        (directory / "graph.json").write_bytes(GRAPH.to_json())
        request = {"graph": [{"path": path, "narSize": 1, "references": []} for path in GRAPH]}
        (directory / "split.json").write_text(json.dumps({**request, "max_layers": 1}))
        image = assemble(ImageConfig(architecture="amd64"), [])
        (directory / "image.json").write_bytes(descriptor_json(image, []))
        (directory / "empty").mkdir()

    def __call__(
        self, *arguments: str, redirect: str = "", directory: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """:param redirect: of the shell, after the command."""
        words = ["sh", "-c", f'"$@" {redirect}', "sh", sys.executable, "-m", "nixoci", *arguments]
        result = subprocess.run(
            words,
            cwd=self.directory / directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in result.stderr, result.stderr
        return result


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


#: With `OUTPUT` in the place of what they write.
COMMANDS = [
    ["split", "split.json", "--output", "OUTPUT"],
    ["elf-facts", "empty", "--output", "OUTPUT"],
    ["database", "graph.json", "--output", "OUTPUT"],
    ["certificates", "--bundle", "bundle", "--output", "OUTPUT"],
    ["certificates", "--bundle", "OUTPUT", "--output", "facts"],
    ["index", "image.json", "--output", "OUTPUT"],
    ["write", "image.json", "--format", "oci-archive", "--output", "OUTPUT"],
    ["write", "image.json", "--format", "docker-archive", "--output", "OUTPUT"],
]


def _with(words: list[str], output: str) -> list[str]:
    return [output if word == "OUTPUT" else word for word in words]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_output_is_replaced_in_one_step(command: Command, words: list[str]) -> None:
    """A device is written into, a link followed, an empty name none, and what cannot be written named."""
    (command.directory / "null").symlink_to("/dev/null")
    result = command(*_with(words, "null"))
    assert result.returncode == 0, result.stderr
    assert os.readlink(command.directory / "null") == "/dev/null"
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    (command.directory / "link").symlink_to("target")
    (command.directory / "target").write_bytes(b"old" * 1000)
    before = (command.directory / "target").stat()
    result = command(*_with(words, "link"))
    assert result.returncode == 0 and (command.directory / "link").is_symlink()
    after = (command.directory / "target").stat()
    # Another file has its place.
    assert before.st_ino != after.st_ino and before.st_size != after.st_size

    for name, reason in (
        ("empty", "Is a directory"),
        ("no/such", "No such file or directory"),
        ("full", "No space left on device"),
        ("", "its name is empty"),
    ):
        if (words[0], name) in (("write", "no/such"), ("certificates", "full")):
            # It makes the directory; without a certificate there is nothing to write.
            continue
        (command.directory / "full").unlink(missing_ok=True)
        (command.directory / "full").symlink_to("/dev/full")
        result = command(*_with(words, name))
        assert result.returncode == 1 and f" cannot be written: {reason}." in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not [name for name in os.listdir(command.directory) if "partial" in name]


@pytest.mark.parametrize("format", ["oci-layout", "oci-archive", "docker-archive"])
def test_an_empty_name_is_not_the_working_directory(command: Command, format: str) -> None:
    """Not even where that is empty, and a layout could have its place."""
    before = (command.directory / "empty").stat()
    words = ("write", "../image.json", "--format", format, "--output", "")
    result = command(*words, directory="empty")
    assert result.returncode == 1 and "its name is empty" in result.stderr
    after = (command.directory / "empty").stat()
    assert before.st_ino == after.st_ino and os.listdir(command.directory / "empty") == []


@pytest.mark.parametrize("name", ["file", "link to a directory", "pipe"])
def test_a_layout_takes_the_place_of_nothing_else(command: Command, name: str) -> None:
    """What is no layout is refused, and stays."""
    path = command.directory / "out"
    if name == "file":
        path.write_bytes(b"mine")
    elif name == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("empty")
    before = path.lstat()
    result = command("write", "image.json", "--format", "oci-layout", "--output", "out")
    assert result.returncode == 1 and "is no OCI image layout" in result.stderr
    after = path.lstat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)


@pytest.mark.parametrize(
    "redirect, reason",
    [
        (">&-", "Bad file descriptor"),
        ("> /dev/full", "No space left on device"),
        ("1< /dev/null", "Bad file descriptor"),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ["split", "split.json"],
        ["elf-facts", "empty"],
        ["--help"],
        ["push", "--help"],
    ],
    ids=" ".join,
)
def test_standard_output_that_cannot_be_written(
    command: Command, words: list[str], redirect: str, reason: str
) -> None:
    """One sentence, and no success."""
    result = command(*words, redirect=redirect)
    assert result.returncode == 1
    assert result.stderr == f"nixoci: standard output cannot be written: {reason}.\n"


def test_a_closed_standard_output_gets_no_other_file(command: Command) -> None:
    """The number of one that is closed is given to none that is opened later."""
    for redirect in ("0>&-", "1>&-", "2>&-", "0>&- 1>&- 2>&-"):
        words = ("write", "image.json", "--format", "oci-archive", "--output", "out")
        result = command(*words, redirect=redirect)
        assert result.returncode == 0, result.stderr
        written = (command.directory / "out").read_bytes()
        assert command(*words).returncode == 0
        assert written == (command.directory / "out").read_bytes()


def test_an_error_for_programs_that_cannot_be_printed(command: Command) -> None:
    """It goes to standard error instead; the status is the same. Without that, only the status is left."""
    failing = ("--json-errors", "closure", "/etc")
    assert command(*failing).returncode == 1
    result = command(*failing, redirect="> /dev/full")
    assert result.returncode == 1 and "store path '/etc' is not valid" in result.stderr
    for redirect in ("> /dev/full 2> /dev/full", "2>&-", "> /dev/full 2>&-"):
        assert command(*failing, redirect=redirect).returncode == 1
    assert command("push", "--nosuch", redirect="2> /dev/full").returncode == 2


def test_standard_input_that_is_closed(command: Command) -> None:
    result = command("split", redirect="<&-")
    assert result.returncode == 1
    assert result.stderr == "nixoci: Cannot read standard input: Bad file descriptor.\n"


@pytest.mark.parametrize("name", ["file", "file/below", "full", ""])
def test_tools_that_cannot_be_written(command: Command, name: str) -> None:
    """A sentence, and nothing that is half of a file."""
    (command.directory / "file").write_bytes(b"")
    (command.directory / "full").mkdir()
    (command.directory / "full" / "tools.json").mkdir()
    result = command("tools", "--python-only", name)
    assert result.returncode == 1 and " cannot be written: " in result.stderr
    assert os.listdir(command.directory / "full") == ["tools.json"]


def test_tools_are_replaced(command: Command) -> None:
    """By files of their owner, whatever was there; links to files of others are followed."""
    command.environment["SECRET"] = "x"
    tools = command.directory / "tools"
    tools.mkdir()
    (tools / "tools.json").write_bytes(b"old")
    (tools / "python3").write_bytes(b"old")
    words = ("tools", "--environment-name", "SECRET", "--python-only", "tools")
    result = command(*words)
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(tools)) == ["python3", "tools.json"]
    assert json.loads((tools / "tools.json").read_bytes())["environment"]["SECRET"] == "x"
    assert stat.S_IMODE((tools / "tools.json").stat().st_mode) == 0o600
    assert os.path.realpath(tools / "python3") == os.path.realpath(sys.executable)
