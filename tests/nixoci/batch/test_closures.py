"""Tests of `nixoci.batch.closures`, and of the commands that leave closures as answers, with the Nix of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterable

import nixoci
import pytest
from nixoci.batch.answers import CLOSURE, EVALUATION, Answers, answer_file, answer_key
from nixoci.batch.closures import answer_closures, answer_closures_early
from nixoci.store.closure import ClosureGraph
from nixoci.store.evaluate import Derivation
from nixoci.store.path import StorePath

from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.nix_support import (
    SYSTEM,
    environment,
    nix,
    shell_derivation,
    unique_word,
    write_tree,
)

_PROGRAM = "0" * 64


def _key(*paths: str) -> str:
    return answer_key(_PROGRAM, CLOSURE, sorted(paths))


def _added(tmp_path: Path, *names: str) -> list[StorePath]:
    """Returns valid store paths of that many files."""
    paths = []
    for name in names:
        (tmp_path / name).write_text(unique_word())
        output = nix(tmp_path).run(("nix-store", "--add", str(tmp_path / name)))
        paths.append(StorePath.parse(output.decode().strip()))
    return paths


def _answered(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*/*")}


def test_valid_ones_are_answered(tmp_path: Path) -> None:
    """The others are named, and one path that is missing leaves out the closures that have it, and no more."""
    one, two = _added(tmp_path, "one", "two")
    lost = store_path("lost")
    answers = tmp_path / "answers"
    roots = {_key(one): [one], _key(one, two): [one, two], _key(two, lost): [two, lost]}
    missing = answer_closures(nix(tmp_path), Answers(str(answers)), roots)
    assert missing == {_key(two, lost): (lost,)}
    assert _answered(answers) == {_key(one), _key(one, two)}
    graph = ClosureGraph.from_json((answers / answer_file(_key(one, two))).read_bytes())
    assert set(graph) == {one, two}


@pytest.mark.parametrize("directory", ["answers", "file/answers"])
def test_early_answers_are_no_reason_to_fail(tmp_path: Path, directory: str) -> None:
    """What cannot be written is asked for later, and fails then."""
    (tmp_path / "file").write_text("")
    (one,) = _added(tmp_path, "one")
    packages = {"a": [one], "b": [store_path("lost")]}
    answers = Answers(str(tmp_path / directory))
    missing = answer_closures_early(nix(tmp_path), answers, _PROGRAM, packages)
    is_possible = directory == "answers"
    assert missing == (frozenset({"b"}) if is_possible else frozenset())
    assert _answered(tmp_path / directory) == ({_key(one)} if is_possible else set())
    assert set(answers.told) == _answered(tmp_path / directory)


def _run(home: Path, *arguments: str) -> Any:
    """Runs a command of the core; returns the JSON that it prints."""
    result = subprocess.run(
        (sys.executable, "-m", "nixoci", *arguments),
        env={**environment(home), "PYTHONPATH": str(Path(nixoci.__file__).parents[1])},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(result.stdout)


def _require_told(report: Any, answers: Path, keys: Iterable[str]) -> None:
    """Checks that a command prints the answers that it has left."""
    assert report["answers"] == {key: (answers / answer_file(key)).read_text() for key in keys}


def _evaluate(tmp_path: Path, root: str, attributes: dict[str, list[str]]) -> Any:
    request = tmp_path / "request.json"
    keys = {attr: answer_key(_PROGRAM, EVALUATION, [attr]) for attr in attributes}
    document = {
        "program": _PROGRAM,
        "attributes": {a: {"key": keys[a], "outputs": outputs} for a, outputs in attributes.items()},
    }
    request.write_text(json.dumps(document))
    report = _run(
        tmp_path,
        *("evaluate-many", f"--root={root}", "--source=default.nix", f"--system={SYSTEM}"),
        *(f"--answers={tmp_path / 'answers'}", str(request)),
    )
    return keys, report


def test_commands_leave_closures(tmp_path: Path) -> None:
    """`evaluate-many` those that are valid, `realise-many` those that it has built."""
    word, answers = unique_word(), tmp_path / "answers"
    both = f"""derivation {{
      name = "both"; system = "{SYSTEM}"; builder = "/bin/sh"; outputs = [ "out" "dev" ];
      args = [ "-e" "-c" "echo {word} > $out; echo {word} $out > $dev" ];
    }}"""
    one = shell_derivation("one", f"echo {word} > $out")
    broken = shell_derivation("broken", "exit 1")
    tree = {"default.nix": f"{{ system }}: {{ both = {both}; one = {one}; broken = {broken}; }}"}
    root = str(write_tree(tmp_path / "s", tree))
    keys, report = _evaluate(tmp_path, root, {"both": ["dev"], "one": [], "broken": []})
    assert (report["failures"], report["missing"]) == ({}, sorted(keys.values()))
    assert _answered(answers) == set(keys.values())
    _require_told(report, answers, keys.values())

    derivations = {a: Derivation.from_json((answers / answer_file(keys[a])).read_bytes()) for a in keys}
    packages = [
        {"key": a, "derivation": d.to_json().decode(), "outputs": ["dev" if a == "both" else "out"]}
        for a, d in derivations.items()
    ]
    request = tmp_path / "realise.json"
    request.write_text(json.dumps({"program": _PROGRAM, "packages": packages}))
    built = _run(tmp_path, "realise-many", f"--answers={answers}", str(request))
    assert list(built["failures"]) == ["broken"]
    assert len(built["answers"]) == 2
    _require_told(built, answers, built["answers"])
    paths = {a: dict(d.outputs)["dev" if a == "both" else "out"] for a, d in derivations.items()}
    closures = {_key(paths["both"]), _key(paths["one"])}
    assert _answered(answers) == {*keys.values(), *closures}
    graph = ClosureGraph.from_json((answers / answer_file(_key(paths["both"]))).read_bytes())
    assert set(graph) == {path for _, path in derivations["both"].outputs}

    for key in closures:
        (answers / answer_file(key)).unlink()
    keys, report = _evaluate(tmp_path, root, {"both": ["dev"], "one": ["out"], "broken": []})
    assert report["missing"] == [keys["broken"]]
    assert _answered(answers) == {*keys.values(), *closures}
