"""Tests of `nixoci.errors`: what messages quote from outside, as a terminal gets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nixoci
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.atomic import OutputError
from nixoci.errors import InvalidInputError, NixOciError, printable, printable_lines
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import descriptor_json
from nixoci.image.image import assemble
from nixoci.layering.collisions import FileCollisionError
from nixoci.processes.workers import WorkerProcessError
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.registry.errors import CredentialsError, UnexpectedAnswerError
from nixoci.store.messages.evaluation import EvaluationError, UnpinnedFetchError
from nixoci.store.fetch import UnpinnedFetch
from nixoci.store.nix import NixFailedError
from nixoci.store.realise import BuildFailedError

from tests.nixoci.store.closure_support import store_path

#: A title of the window, a bell, a sequence that begins with one character, the other direction of writing,
#: another line that looks like ours, a line separator, half of a character.
HOSTILE = "\x1b]0;title\x07 \x9b31m \u202eevil\r\nnixoci: all is well\u2028\udc9b"


def run(directory: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "nixoci", *arguments],
        input=stdin,
        capture_output=True,
        cwd=directory,
        env={"PYTHONPATH": str(Path(nixoci.__file__).parents[1]), "PATH": os.environ["PATH"]},
        check=False,
    )


def _descriptor(**changed: Any) -> bytes:
    image = assemble(ImageConfig(architecture="amd64"), [])
    document = {**json.loads(descriptor_json(image, [])), **changed}
    return json.dumps(document).encode()


def _config(**changed: Any) -> bytes:
    config = json.loads(_descriptor())["config"]
    return _descriptor(config={**config, **changed})


def _recipe(**changed: Any) -> bytes:
    path = store_path("a")
    recipe = json.loads(LayerRecipe((RecipeEntry(path, "sha256-test", path),)).to_json())
    return json.dumps({**recipe, **changed}).encode()


def _split(**changed: Any) -> bytes:
    return json.dumps({"graph": [], "max_layers": 3, **changed}).encode()


@pytest.mark.parametrize(
    "command, document",
    [
        (["push"], _descriptor(digest=HOSTILE)),
        (["push"], _descriptor(references=[HOSTILE])),
        (["push"], _descriptor(configDigest={HOSTILE: [HOSTILE]})),
        (["push"], _config(architecture=HOSTILE)),
        (["push"], _config(config={HOSTILE: 1})),
        (["push"], _config(config={"Env": [HOSTILE]})),
        (["push"], _config(config={"Labels": {HOSTILE: 1}})),
        (["push"], HOSTILE.encode(errors="surrogateescape")),
        (["digest"], _recipe(permissions=[{"path": HOSTILE + "("}])),
        (["digest"], _recipe(permissions=[{"path": "/a", HOSTILE: 1}])),
        (["digest"], _recipe(permissions=[{"path": "/a", "uname": HOSTILE}])),
        (["digest"], _recipe(permissions=[{"path": "/a", "capabilities": [HOSTILE]}])),
        (["digest"], _recipe(dialect=HOSTILE)),
        (["digest"], _recipe(entries=[HOSTILE])),
        (["digest"], _recipe(version=HOSTILE)),
        (["split"], _split(**{HOSTILE: 1})),
        (["split"], _split(weights={HOSTILE: "much"})),
        (["split"], _split(rates=[[HOSTILE, []]])),
        (["split"], _split(previous=[[HOSTILE]])),
        (["split"], _split(graph=[{"path": HOSTILE}])),
        (["store-libraries"], json.dumps({"store_paths": {HOSTILE: HOSTILE}}).encode()),
    ],
)
def test_documents(tmp_path: Path, command: list[str], document: bytes) -> None:
    """Whatever keys and values a document has, its error is one line of printable characters."""
    result = run(tmp_path, *command, "-", stdin=document)
    assert (result.returncode, result.stdout) == (1, b"")
    line = result.stderr.decode()
    assert line.startswith("nixoci: ") and line.endswith("\n") and line[:-1].isprintable(), line


@pytest.mark.parametrize(
    "arguments",
    [
        ["digest", "{name}"],
        ["elf-facts", "{name}"],
        ["split", "-", "--output", "{name}/x"],
        ["database", "-", "--output", "{name}/x"],
        ["certificates", "{name}", "--bundle", "x"],
        ["certificates", "empty", "--bundle", "{name}/x"],
        ["tools", "empty/{name}"],
        ["closure", "{name}"],
        ["nosuch{name}"],
        ["closure", "x", "--nosuch\x1b]0;title\x07\u202e"],
    ],
)
def test_names_of_files_and_options(tmp_path: Path, arguments: list[str]) -> None:
    """Those of files, whatever bytes they have, and what is wrong in the command line."""
    name = HOSTILE.replace("/", "")
    (tmp_path / "empty").write_bytes(b"")
    stdin = _split() if arguments[0] == "split" else b"[]"
    result = run(tmp_path, *(word.format(name=name) for word in arguments), stdin=stdin)
    assert result.returncode in (1, 2)
    lines = result.stderr.decode().rstrip("\n").split("\n")
    assert all(line.isprintable() for line in lines), lines
    assert 1 == len([line for line in lines if line.startswith("nixoci")])


_LOG = "\x1b[31mred\x1b[0m\ta\r\nb\x1b]0;title\x07\nc\u202e\x85d"
_SHOWN = "red\ta\nb\\x1b]0;title\\x07\nc\\u202e\\x85d"


@pytest.mark.parametrize(
    "error",
    [
        BuildFailedError(["/nix/store/x"], _LOG),
        NixFailedError(["nix", "eval"], 1, _LOG),
        EvaluationError("a.nix", "b", _LOG),
        UnpinnedFetchError("a.nix", "b", _LOG, UnpinnedFetch("fetchurl", HOSTILE, HOSTILE)),
        WorkerProcessError(f"makes {HOSTILE}", None, _LOG),
    ],
)
def test_what_programs_print_keeps_its_lines(error: NixOciError) -> None:
    """And loses what it would do to a terminal; our own sentence is one line."""
    sentence, _, rest = str(error).partition("\n")
    assert sentence.isprintable() and rest == _SHOWN


@pytest.mark.parametrize(
    "error",
    [
        OutputError(HOSTILE, HOSTILE),
        FileCollisionError(HOSTILE, (HOSTILE, HOSTILE), HOSTILE),
        UnexpectedAnswerError(HOSTILE, HOSTILE, HOSTILE, HOSTILE),
        CredentialsError(HOSTILE, HOSTILE, HOSTILE),
        InvalidInputError(HOSTILE, HOSTILE, HOSTILE),
        InvalidInputError(HOSTILE, HOSTILE.encode(errors="replace"), HOSTILE),
        EvaluationError(HOSTILE, HOSTILE, ""),
    ],
)
def test_errors_are_printable(error: NixOciError) -> None:
    """Whatever their parts are; the facts stay what they are."""
    assert str(error).isprintable() and "\\x1b]0;title\\x07" in str(error)
    assert not {HOSTILE, HOSTILE.encode(errors="replace")}.isdisjoint(vars(error).values())


def test_a_value_is_quoted_in_part() -> None:
    """Of one that is large, too deep for Python, or too many digits, the message has little."""
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    for value in ("x" * 1_000_000, {"y" * 1_000_000: 1}, 10**5000, deep):
        error = InvalidInputError("k" * 1000, value, "w" * 10_000)
        assert len(str(error)) < 3000 and error.value is value
    # Python itself takes a list of that depth apart by recursion.
    while deep:
        deep = deep.pop()


@given(st.text())
def test_printable_escapes_what_is_not(text: str) -> None:
    """What is printable stays, and the rest can be read."""
    shown = printable(text)
    assert shown.isprintable() and (shown == text) == text.isprintable()
    assert printable_lines(text.replace("\n", " ").replace("\t", " ")).isprintable()
    assert len(printable_lines("\n".join([shown] * 3)).split("\n")) == 3
