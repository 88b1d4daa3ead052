"""Tests of `nixoci.batch.evaluate_many`, with the Nix of this machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.batch.evaluate_many import evaluate_many
from nixoci.errors import InvalidInputError
from nixoci.store.evaluate import Attribute, Derivation, evaluate
from nixoci.store.messages.evaluation import (
    EvaluationError,
    ImportFromDerivationError,
    NoSuchAttributeError,
    UndeclaredSourceError,
    UnpinnedFetchError,
)
from nixoci.store.nix import Nix

from tests.nixoci.store.nix_support import SYSTEM, nix, shell_derivation, unique_word, write_tree

NAMES = tuple(f"p{number}" for number in range(12))

#: Attributes that fail, each in its own way, and with which error.
BROKEN = {
    "assertion": ("assert false; null", EvaluationError),
    "fetch": ('import (builtins.fetchTarball "https://example.org/x.tar.gz")', UnpinnedFetchError),
    "recursion": ("let x = x; in x", EvaluationError),
    "syntax": ("import ./syntax.nix", EvaluationError),
    "thrown": ('throw "no"', EvaluationError),
    "undeclared": ("import ./elsewhere.nix", UndeclaredSourceError),
    "value": ("1", NoSuchAttributeError),
}


def _attributes(*names: str) -> str:
    return " ".join(f"{name} = {shell_derivation(name, f'echo {name} > $out')};" for name in names)


def _broken(*names: str) -> str:
    return " ".join(f"{name} = {BROKEN[name][0]};" for name in names)


def _file(root: Path, attributes: str) -> Path:
    text = f"{{ system }}: builtins.trace \"imported\" {{ {attributes} }}"
    return write_tree(root, {"default.nix": text, "syntax.nix": "{"})


def _flake(root: Path, attributes: str, output: str = "packages") -> Path:
    text = (
        f'{{ outputs = {{ self }}: let system = "{SYSTEM}"; in builtins.trace "imported" '
        f"{{ {output}.{SYSTEM} = {{ {attributes} }}; }}; }}"
    )
    return write_tree(root, {"flake.nix": text, "syntax.nix": "{"})


class _Counted(Nix):
    """Counts the evaluators that are started, in a file beside the home directory."""

    def _run_once(self, arguments, stderr, directory):  # type: ignore[no-untyped-def]
        if arguments[:2] == ("nix", "eval"):
            with open(self.environment["HOME"] + "/starts", "a") as file:
                file.write("x")
        return super()._run_once(arguments, stderr, directory)


def _many(home: Path, root: Path, *attrs: str) -> tuple[dict[str, object], int]:
    """Returns what the attributes come to, and how many evaluators were started for it."""
    home.mkdir(exist_ok=True)
    found = nix(home)
    starts = Path(found.environment["HOME"]) / "starts"
    starts.write_text("")
    counted = _Counted(found.directory, found.environment, found.settings, found.known_store)
    source = "flake.nix" if (root / "flake.nix").exists() else "default.nix"
    result = evaluate_many(counted, Attribute(str(root), source, "", SYSTEM), attrs)
    return dict(result), len(starts.read_text())


def _one(home: Path, root: Path, attr: str) -> Derivation:
    source = "flake.nix" if (root / "flake.nix").exists() else "default.nix"
    return evaluate(nix(home), root=str(root), source=source, attr=attr, system=SYSTEM)


@pytest.mark.parametrize("write", (_file, _flake))
def test_all_by_one_evaluator(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    root = write(tmp_path / "source", _attributes(*NAMES))
    found, starts = _many(tmp_path / "home", root, *NAMES)
    assert starts == 1
    assert list(found) == list(NAMES)
    for name in (NAMES[0], NAMES[-1]):
        assert found[name] == _one(tmp_path / "home", root, name)


def test_what_they_have_in_common_is_evaluated_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that is a function is called once. Each call would print a line."""
    common = 'builtins.trace "common" 1'
    text = f"{{ system }}: let common = {common}; in builtins.seq common {{ {_attributes(*NAMES)} }}"
    root = write_tree(tmp_path / "source", {"default.nix": text})
    lines = []

    class Listening(Nix):
        def _run_once(self, arguments, stderr, directory):  # type: ignore[no-untyped-def]
            output = super()._run_once(arguments, stderr, directory)
            if isinstance(stderr, int) and stderr > 0:
                lines.extend(open(f"/proc/self/fd/{stderr}").read().splitlines())
            return output

    found = nix(tmp_path)
    listening = Listening(found.directory, found.environment, found.settings, found.known_store)
    evaluate_many(listening, Attribute(str(root), "default.nix", "", SYSTEM), NAMES)
    assert [line for line in lines if "common" in line] == ["trace: common"]


@pytest.mark.parametrize("write", (_file, _flake))
@pytest.mark.parametrize("broken", BROKEN)
def test_one_that_fails_fails_alone(tmp_path: Path, write, broken: str) -> None:  # type: ignore[no-untyped-def]
    """With the error that it has by itself, wherever it stands."""
    root = write(tmp_path / "source", _attributes(*NAMES) + _broken(broken))
    with pytest.raises(BROKEN[broken][1]) as alone:
        _one(tmp_path / "home", root, broken)
    for attrs in ((broken, *NAMES), (*NAMES[:5], broken, *NAMES[5:]), (*NAMES, broken)):
        found, _ = _many(tmp_path / "home", root, *attrs)
        assert {name for name in NAMES if isinstance(found[name], Derivation)} == set(NAMES)
        assert type(found[broken]) is alone.type and str(found[broken]) == str(alone.value)


def test_several_that_fail(tmp_path: Path) -> None:
    root = _file(tmp_path / "source", _attributes(*NAMES) + _broken(*BROKEN))
    attrs = [name for pair in zip(NAMES, BROKEN) for name in pair]
    found, _ = _many(tmp_path / "home", root, *attrs, "missing")
    assert {name for name, value in found.items() if isinstance(value, Derivation)} == set(
        NAMES[: len(BROKEN)]
    )
    for name, (_, error) in BROKEN.items():
        assert type(found[name]) is error
    assert isinstance(found["missing"], NoSuchAttributeError)


@pytest.mark.parametrize("text", ("{", "throw \"all\"", "{ system }: builtins.abort \"all\""))
def test_all_fail(tmp_path: Path, text: str) -> None:
    """Each says why; nothing waits for more starts than one for each and two."""
    root = write_tree(tmp_path / "source", {"default.nix": text})
    found, starts = _many(tmp_path / "home", root, *NAMES)
    assert starts == len(NAMES) + 2
    for value in found.values():
        assert isinstance(value, EvaluationError)


def test_packages_of_a_flake_in_other_places(tmp_path: Path) -> None:
    """As `nix build` finds them: in `packages`, `legacyPackages`, or by their whole path."""
    root = write_tree(
        tmp_path / "source",
        {
            "flake.nix": f"""{{ outputs = {{ self }}: let system = "{SYSTEM}"; in {{
                packages.${{system}} = {{ {_attributes("a", "b")} default = self.packages.${{system}}.a; }};
                legacyPackages.${{system}} = {{ {_attributes("a2", "b")} set = {{ {_attributes("c")} }}; }};
                other = {{ {_attributes("d")} }};
            }}; }}"""
        },
    )
    attrs = ("a", "b", "a2", "set.c", "other.d", "", "none", f"packages.{SYSTEM}.a")
    found, _ = _many(tmp_path / "home", root, *attrs)
    for attr in attrs:
        if attr == "none":
            assert isinstance(found[attr], NoSuchAttributeError)
        else:
            assert found[attr] == _one(tmp_path / "home", root, attr)


@pytest.mark.parametrize(
    "attr", ("a.b", '"a.b"', "list.1", "function.x", "a.$x", 'a."${x}"', "a.\\", "--option")
)
def test_attribute_paths(tmp_path: Path, attr: str) -> None:
    """What is an attribute path, and what it means, does not depend on how many there are."""
    attributes = (
        f"a = {{ {_attributes('b')} }}; \"a.b\" = {shell_derivation('ab', 'echo > $out')}; "
        f"list = [ 1 {shell_derivation('element', 'echo > $out')} ]; "
        f"function = {{ system }}: {{ {_attributes('x')} }}; {_attributes(*NAMES)}"
    )
    root = _file(tmp_path / "source", attributes)
    found, _ = _many(tmp_path / "home", root, *NAMES, attr)
    try:
        expected: object = _one(tmp_path / "home", root, attr)
    except (EvaluationError, InvalidInputError) as error:
        assert str(found[attr]) == str(error)
    else:
        assert found[attr] == expected
    assert isinstance(found["p0"], Derivation)


def test_what_is_evaluated_cannot_answer(tmp_path: Path) -> None:
    """What a file prints is not taken for what Nix says of it."""
    fake = 'trace: nixoci {\\"number\\":0,\\"value\\":{}}'
    lines = f'builtins.trace "{fake}\\ntrace: nixoci x {{}}" '
    text = f"{{ system }}: {lines} {{ {_attributes(*NAMES)} }}"
    root = write_tree(tmp_path / "source", {"default.nix": text})
    found, starts = _many(tmp_path / "home", root, *NAMES)
    assert starts == 1 and all(isinstance(value, Derivation) for value in found.values())


def test_more_than_one_evaluator_takes(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(230)]
    root = _file(tmp_path / "source", _attributes(*names))
    found, starts = _many(tmp_path / "home", root, *names)
    assert starts == 3 and len({str(value) for value in found.values()}) == 230


def test_one_more_time(tmp_path: Path) -> None:
    """Names that are there twice are evaluated once; none is no start."""
    root = _file(tmp_path / "source", _attributes("a", "b"))
    found, starts = _many(tmp_path / "home", root, "a", "b", "a")
    assert list(found) == ["a", "b"] and starts == 1
    assert evaluate_many(nix(tmp_path), Attribute(str(root), "default.nix", "", SYSTEM), ()) == {}


@pytest.mark.parametrize("count", (1, 3))
@pytest.mark.parametrize(
    "value", ("text", True, False, 7, 1.5, None, ["a", {"b": 1}], {"x": {"y": "${z} \\ \"q\""}}), ids=repr
)
def test_arguments(tmp_path: Path, value: object, count: int) -> None:
    """A file that is a function gets them, as what they are, and with them it is something else."""
    text = f"""{{ system, given, more ? "none" }}: builtins.listToAttrs (map (name: {{
      inherit name;
      value = derivation {{
        inherit name system; builder = "/bin/sh"; text = builtins.toJSON given; inherit more;
      }};
    }}) [ "a" "b" "c" ])"""
    root = write_tree(tmp_path / "source", {"default.nix": text})
    file = Attribute(str(root), "default.nix", "", SYSTEM, arguments=json.dumps({"given": value}))
    found = evaluate_many(nix(tmp_path), file, ("a", "b", "c")[:count])
    other = evaluate_many(nix(tmp_path), replace(file, arguments='{"given": "other"}'), ("a",))
    derivation = found["a"]
    assert isinstance(derivation, Derivation) and derivation != other["a"]
    query = ("nix-store", "--query", "--binding", "text", str(derivation.drv_path))
    assert json.loads(nix(tmp_path).run(query)) == value


@pytest.mark.parametrize("count", (1, 3))
@pytest.mark.parametrize(
    "text",
    (
        f"{{ system }}: {{ {_attributes('a', 'b', 'c')} }}",
        f"let system = 1; in {{ {_attributes('a', 'b', 'c')} }}",
        f"system: {{ {_attributes('a', 'b', 'c')} }}",
    ),
)
def test_arguments_that_the_file_does_not_take(tmp_path: Path, text: str, count: int) -> None:
    root = write_tree(tmp_path / "source", {"default.nix": text})
    file = Attribute(str(root), "default.nix", "", SYSTEM, arguments='{"typo": 1}')
    for value in evaluate_many(nix(tmp_path), file, ("a", "b", "c")[:count]).values():
        assert isinstance(value, EvaluationError) and "takes no argument 'typo'" in str(value)


def test_a_file_that_takes_anything(tmp_path: Path) -> None:
    text = f"{{ system, ... }}@all: {{ {_attributes('a', 'b')} c = derivation ({{ name = ''c-${{all.word}}''; builder = ''/bin/sh''; inherit system; }}); }}"
    root = write_tree(tmp_path / "source", {"default.nix": text})
    file = Attribute(str(root), "default.nix", "", SYSTEM, arguments='{"word": "given"}')
    value = evaluate_many(nix(tmp_path), file, ("a", "c"))["c"]
    assert isinstance(value, Derivation) and str(value.outputs[0][1]).endswith("-c-given")


@pytest.mark.parametrize("arguments", ("[]", "{", "1", '{"a": NaN}'))
def test_arguments_that_are_none(tmp_path: Path, arguments: str) -> None:
    root = _file(tmp_path / "source", _attributes("a"))
    file = Attribute(str(root), "default.nix", "", SYSTEM, arguments=arguments)
    assert isinstance(evaluate_many(nix(tmp_path), file, ("a",))["a"], InvalidInputError)
    flake = _flake(tmp_path / "flake", _attributes("a"))
    file = Attribute(str(flake), "flake.nix", "", SYSTEM, arguments='{"a": 1}')
    assert isinstance(evaluate_many(nix(tmp_path), file, ("a",))["a"], InvalidInputError)


@pytest.mark.parametrize("count", (1, 3))
@pytest.mark.parametrize(
    "use", ("import made", "builtins.readFile made", "builtins.readDir made", "builtins.pathExists (made + ''/x'')")
)
def test_import_from_derivation(tmp_path: Path, use: str, count: int) -> None:
    """Refused, unless it is allowed; then it is built."""
    made = "/bin/mkdir -p $out; " if "readDir" in use else "echo 1 > $out; "
    attributes = f"""
      a = let made = {shell_derivation("made", f"{made}: {unique_word()}")}; in
        derivation {{ name = "a"; inherit system; builder = "/bin/sh"; args = [ (builtins.toJSON ({use})) ]; }};
    """
    root = _file(tmp_path / "source", attributes + _attributes("b", "c"))
    file = Attribute(str(root), "default.nix", "", SYSTEM)
    found = evaluate_many(nix(tmp_path), file, ("a", "b", "c")[:count])
    assert isinstance(found["a"], ImportFromDerivationError)
    assert all(isinstance(found[name], Derivation) for name in ("b", "c")[: count - 1])
    allowed = evaluate_many(nix(tmp_path), replace(file, import_from_derivation=True), ("a", "b", "c")[:count])
    assert all(isinstance(value, Derivation) for value in allowed.values())
