"""Tests of `nixoci.batch.realise_many`, with the Nix of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Sequence

import pytest
from nixoci.batch.answers import Answers
from nixoci.batch.closures import answer_closures
from nixoci.batch.evaluate_many import evaluate_many
from nixoci.batch.realise_many import Wanted, realise_many
from nixoci.store.evaluate import Attribute, Derivation
from nixoci.store.realise import (
    BuildFailedError,
    NoMachineError,
    NotBuildableError,
    OutputChangedError,
)

from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.nix_support import (
    SYSTEM,
    delete,
    nix,
    program,
    shell_derivation,
    unique_word,
    write_tree,
)


def _packages(tmp_path: Path, commands: dict[str, str], names: Sequence[str] = ()) -> dict[str, Wanted]:
    """Returns packages that are evaluated, by name; `commands` build them."""
    word = unique_word()
    attributes = "".join(
        f"{name} = {shell_derivation(name, f'echo {word} > $out; {command}')};"
        for name, command in commands.items()
    )
    root = str(write_tree(tmp_path / "s", {"default.nix": f"{{ system }}: rec {{ {attributes} }}"}))
    file = Attribute(root, "default.nix", "", SYSTEM)
    found = evaluate_many(nix(tmp_path), file, list(commands))
    packages = {}
    for name, derivation in found.items():
        assert isinstance(derivation, Derivation)
        packages[name] = Wanted(derivation, ("out",), replace(file, attr=name))
    return packages


def _valid(tmp_path: Path, package: Wanted) -> bool:
    return not nix(tmp_path).invalid(package.paths)


def test_all_are_built(tmp_path: Path) -> None:
    packages = tuple(_packages(tmp_path, {f"p{n}": f"echo {n} >> $out" for n in range(8)}).values())
    log = tmp_path / "log"
    assert realise_many(nix(tmp_path), packages, str(log)) == (None,) * 8
    assert all(_valid(tmp_path, package) for package in packages)
    assert log.read_text().count("building '") == 8
    # Nothing is left to do, and nothing is written.
    log.unlink()
    assert realise_many(nix(tmp_path), packages, str(log)) == (None,) * 8
    assert not log.exists()


def test_one_that_fails_fails_alone(tmp_path: Path) -> None:
    """And its error is that of its own builder, whatever others say."""
    commands = {f"p{n}": f"for i in $(seq 50); do echo noise-{n}; done" for n in range(4)}
    commands["broken"] = "echo this-is-why; exit 3"
    commands["wrong"] = "echo another-reason; rm $out"
    packages = _packages(tmp_path, commands)
    errors = dict(zip(packages, realise_many(nix(tmp_path), tuple(packages.values()))))
    for name, package in packages.items():
        assert _valid(tmp_path, package) == (name not in ("broken", "wrong"))
        assert (errors[name] is None) == (name not in ("broken", "wrong"))
    assert isinstance(errors["broken"], BuildFailedError)
    assert errors["broken"].wanted == (f"{packages['broken'].derivation.drv_path}!out",)
    assert "this-is-why" in errors["broken"].log and "noise" not in errors["broken"].log
    assert isinstance(errors["wrong"], BuildFailedError) and "noise" not in errors["wrong"].log


def test_what_needs_one_that_fails(tmp_path: Path) -> None:
    word = unique_word()
    text = f"""{{ system }}: rec {{
      lib = {shell_derivation("lib", f"echo {word}-why; exit 1")};
      needs = {shell_derivation("needs", "echo $lib > $out", "inherit lib;")};
      other = {shell_derivation("other", f"echo {word} > $out")};
    }}"""
    root = str(write_tree(tmp_path / "s", {"default.nix": text}))
    names = ("needs", "other")
    found = evaluate_many(nix(tmp_path), Attribute(root, "default.nix", "", SYSTEM), names)
    packages = [Wanted(found[name], ("out",)) for name in names]  # type: ignore[arg-type]
    needs, other = realise_many(nix(tmp_path), packages)
    assert other is None and isinstance(needs, BuildFailedError)
    assert f"{word}-why" in needs.log


def test_what_no_machine_can_build_ends_nothing_else(tmp_path: Path) -> None:
    """Nix before 2.29 gives up all of its work then. The others are built, and have errors of their own."""
    word = unique_word()
    arm = shell_derivation("arm", f"echo {word} > $out").replace("inherit system", 'system = "aarch64-linux"')
    native = "".join(f'n{n} = {shell_derivation(f"n{n}", f"echo {word} > $out")};\n' for n in range(6))
    text = f"""{{ system }}: rec {{
      arm = {arm};
      needs = {shell_derivation("needs", "echo $arm > $out", "inherit arm;")};
      riscv = arm // (derivation {{ name = "{word}"; system = "riscv64-linux"; builder = "/bin/sh"; }});
      fails = {shell_derivation("fails", f"echo {word}-why; exit 1")};
      {native}
    }}"""
    root = str(write_tree(tmp_path / "s", {"default.nix": text}))
    names = ("arm", "riscv", "needs", "fails", *(f"n{n}" for n in range(6)))
    found = evaluate_many(nix(tmp_path), Attribute(root, "default.nix", "", SYSTEM), names)
    packages = [Wanted(found[name], ("out",)) for name in names]  # type: ignore[arg-type]
    errors = dict(zip(names, realise_many(nix(tmp_path), packages)))
    for name, system in (("arm", "aarch64"), ("riscv", "riscv64"), ("needs", "aarch64")):
        assert isinstance(errors[name], NoMachineError), errors[name]
        assert f"is for {system}-linux, and this machine" in str(errors[name])
    assert type(errors["fails"]) is BuildFailedError and f"{word}-why" in errors["fails"].log
    assert [errors[f"n{n}"] for n in range(6)] == [None] * 6


def test_derivations_that_are_gone_are_evaluated_again(tmp_path: Path) -> None:
    packages = tuple(_packages(tmp_path, {name: "" for name in "abc"}).values())
    drv_paths = [package.derivation.drv_path for package in packages]
    delete(nix(tmp_path), *map(str, drv_paths[:2]))
    assert realise_many(nix(tmp_path), packages) == (None, None, None)
    assert all(_valid(tmp_path, package) for package in packages)


def test_sources_that_say_something_else(tmp_path: Path) -> None:
    packages = _packages(tmp_path, {name: "" for name in "abc"})
    delete(nix(tmp_path), *(str(p.derivation.drv_path) for p in packages.values()))
    path = tmp_path / "s" / "default.nix"
    path.write_text(path.read_text().replace('name = "a"', 'name = "A"'))
    a, b, c = realise_many(nix(tmp_path), tuple(packages.values()))
    assert isinstance(a, OutputChangedError) and (b, c) == (None, None)
    assert not _valid(tmp_path, packages["a"]) and _valid(tmp_path, packages["b"])


def test_a_path_that_nobody_has(tmp_path: Path) -> None:
    packages = _packages(tmp_path, {"a": ""})
    path = store_path(unique_word())
    nobody = Wanted(Derivation(None, (("out", path),), "out"), ("out",))
    error, none = realise_many(nix(tmp_path), (nobody, packages["a"]))
    assert isinstance(error, NotBuildableError) and error.paths == (path,)
    assert none is None and _valid(tmp_path, packages["a"])


@pytest.mark.parametrize("outputs", (("dev",), ("doc", "out"), ("out", "dev", "doc")))
def test_outputs(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    word = unique_word()
    text = shell_derivation(
        "several", f"for o in $dev $out $doc; do echo {word} > $o; done", 'outputs = [ "dev" "out" "doc" ];'
    )
    root = str(write_tree(tmp_path / "s", {"default.nix": f"{{ system }}: {{ a = {text}; }}"}))
    found = evaluate_many(nix(tmp_path), Attribute(root, "default.nix", "", SYSTEM), ("a",))
    package = Wanted(found["a"], outputs)  # type: ignore[arg-type]
    assert realise_many(nix(tmp_path), (package,)) == (None,)
    assert _valid(tmp_path, package)


def test_a_derivation_that_is_there_and_not_valid(tmp_path: Path) -> None:
    """It is evaluated again when Nix does not know it."""
    package = _packages(tmp_path, {"p": "true"})["p"]
    drv_path = str(package.derivation.drv_path)
    text = Path(drv_path).read_text()
    delete(nix(tmp_path), drv_path)
    Path(drv_path).write_text(text)
    assert realise_many(nix(tmp_path), [package]) == (None,)
    assert _valid(tmp_path, package)
    # Without sources, that it cannot be built is said.
    lonely = replace(_packages(tmp_path, {"q": "true"})["q"], evaluation=None)
    delete(nix(tmp_path), str(lonely.derivation.drv_path))
    (error,) = realise_many(nix(tmp_path), [lonely])
    assert isinstance(error, BuildFailedError)


def test_how_often_nix_is_started(tmp_path: Path) -> None:
    """Once for what was evaluated and not built, if the build users are known; once for what is built already."""
    package = _packages(tmp_path, {"p": "true"})["p"]
    plain = nix(tmp_path)
    log = tmp_path / "starts"
    for name in ("nix", "nix-store"):
        program(tmp_path / "bin", name, f'echo {name} "$1" >> {log}; exec {plain.directory}/{name} "$@"')
    noted = replace(plain, directory=str(tmp_path / "bin"), known_store=plain.store, known_build_group="")
    assert realise_many(noted, [package]) == (None,)
    assert log.read_text().splitlines() == ["nix-store --realise"]
    log.write_text("")
    assert realise_many(noted, [package]) == (None,)
    assert log.read_text().splitlines() == ["nix-store --check-validity"]
    log.write_text("")
    roots = {"a" * 64: package.paths, "b" * 64: (store_path("nowhere"),)}
    answers = Answers(str(tmp_path / "answers"))
    assert answer_closures(noted, answers, roots, on_disk=True) == {"b" * 64: roots["b" * 64]}
    assert log.read_text().splitlines() == ["nix path-info"]
    assert answer_closures(noted, answers, roots) == {"b" * 64: roots["b" * 64]}
