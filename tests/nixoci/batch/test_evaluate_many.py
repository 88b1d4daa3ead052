"""Tests of `nixoci.batch.evaluate_many`, with the Nix of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.store.evaluate import (
    Derivation,
    EvaluationError,
    NoSuchAttributeError,
    UndeclaredSourceError,
    UnpinnedFetchError,
    evaluate,
)
from nixoci.batch.evaluate_many import evaluate_many
from nixoci.store.nix import Nix

from tests.nixoci.store.nix_support import SYSTEM, nix, shell_derivation, write_tree

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
    result = evaluate_many(counted, root=str(root), source=source, attrs=attrs, system=SYSTEM)
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
    evaluate_many(listening, root=str(root), source="default.nix", attrs=NAMES, system=SYSTEM)
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
    assert evaluate_many(replace(nix(tmp_path)), root=str(root), source="default.nix", attrs=(), system=SYSTEM) == {}
