"""Tests of `nixoci.store.realise`, with the Nix of this machine."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Callable

import pytest
from nixoci.errors import InvalidInputError
from nixoci.store.evaluate import Derivation, evaluate
from nixoci.store.messages.machine import missing_machine
from nixoci.store.nix import Nix
from nixoci.store.path import StorePath
from nixoci.store.realise import (
    BuildFailedError,
    NoMachineError,
    NotBuildableError,
    OutputChangedError,
    realise,
    realise_paths,
    without_missing_build_group,
)

from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.nix_support import (
    CONFIGURATION,
    SYSTEM,
    delete,
    environment,
    nix,
    shell_derivation,
    unique_word,
    write_tree,
)


def _evaluation(tmp_path: Path, expression: str) -> Callable[[], Derivation]:
    root = write_tree(tmp_path / "s", {"default.nix": f"{{ system }}: {expression}"})
    return lambda: evaluate(
        nix(tmp_path), root=str(root), source="default.nix", attr="", system=SYSTEM
    )


def _delete(tmp_path: Path, *paths: StorePath) -> None:
    delete(nix(tmp_path), *paths)


def test_an_output_is_built(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What was evaluated is made valid, and the user sees the log."""
    word = unique_word()
    evaluation = _evaluation(
        tmp_path, shell_derivation("built", f"echo log-{word} >&2; echo {word} > $out")
    )
    derivation = evaluation()
    path = derivation.outputs[0][1]
    assert (path,) == nix(tmp_path).invalid([path])
    assert (path,) == realise(nix(tmp_path), derivation, ["out"], None)
    assert () == nix(tmp_path).invalid([path])
    assert f"{word}\n" == Path(path).read_text()
    assert f"log-{word}" in capfd.readouterr().err


def test_only_the_named_outputs_are_returned(tmp_path: Path) -> None:
    """They come in the order in which they are named."""
    script = f"echo {unique_word()} > $out; echo > $dev; echo > $doc"
    expression = shell_derivation("several", script, 'outputs = [ "out" "dev" "doc" ];')
    derivation = _evaluation(tmp_path, expression)()
    by_name = dict(derivation.outputs)
    found = realise(nix(tmp_path), derivation, ["doc", "out"], None)
    assert (by_name["doc"], by_name["out"]) == found
    assert () == nix(tmp_path).invalid(found)


def test_what_is_valid_needs_nothing(tmp_path: Path) -> None:
    """A valid output is returned without its derivation and without evaluating."""
    (tmp_path / "file").write_text("text")
    output = nix(tmp_path).run(("nix-store", "--add", str(tmp_path / "file")))
    path = StorePath.parse(output.decode().strip())
    gone = store_path(f"{unique_word()}.drv")

    def never() -> Derivation:
        raise AssertionError("evaluated")

    assert (path,) == realise(
        nix(tmp_path), Derivation(gone, (("out", path),), "out"), ["out"], never
    )


def test_a_missing_derivation_is_evaluated_again(tmp_path: Path) -> None:
    """On a machine that has only the recorded result, the sources give the derivation."""
    word = unique_word()
    evaluation = _evaluation(tmp_path, shell_derivation("again", f"echo {word} > $out"))
    derivation = evaluation()
    assert derivation.drv_path is not None
    _delete(tmp_path, derivation.drv_path)
    (path,) = realise(nix(tmp_path), derivation, ["out"], evaluation)
    assert f"{word}\n" == Path(path).read_text()


def test_a_derivation_that_is_there_is_not_evaluated_again(tmp_path: Path) -> None:
    """Building needs the derivation only."""
    derivation = _evaluation(tmp_path, shell_derivation("there", f"echo {unique_word()} > $out"))()

    def never() -> Derivation:
        raise AssertionError("evaluated")

    assert () == nix(tmp_path).invalid(realise(nix(tmp_path), derivation, ["out"], never))


#: `top` references `middle`, that `bottom` and a source; `bottom` has a second output.
_CHAIN = """
  let
    bottom = derivation {{
      name = "bottom"; inherit system; builder = "/bin/sh"; outputs = [ "out" "doc" ];
      args = [ "-c" "echo {word} > $out; echo {word} > $doc" ]; allowSubstitutes = false;
    }};
    middle = derivation {{
      name = "middle"; inherit system; builder = "/bin/sh"; allowSubstitutes = false;
      args = [ "-c" "echo ${{bottom}} ${{bottom.doc}} ${{./source}} > $out" ];
    }};
  in derivation {{
    name = "top"; inherit system; builder = "/bin/sh"; allowSubstitutes = false;
    args = [ "-c" "echo ${{middle}} > $out" ];
  }}
"""


def _collected_chain(tmp_path: Path) -> tuple[Callable[[], Derivation], dict[str, StorePath]]:
    """Builds a closure and deletes all of it, derivations too; returns its paths by name."""
    word = unique_word()
    write_tree(tmp_path / "s", {"source": word})
    evaluation = _evaluation(tmp_path, _CHAIN.format(word=word))
    derivation = evaluation()
    found = nix(tmp_path)
    (top,) = realise(found, derivation, ["out"], None)
    assert derivation.drv_path is not None
    closure = found.run(("nix-store", "--query", "--requisites", top)).decode().split()
    drvs = found.run(("nix-store", "--query", "--requisites", derivation.drv_path)).decode().split()
    everything = sorted({*map(StorePath.parse, closure), *map(StorePath.parse, drvs)})
    _delete(tmp_path, *everything)
    assert found.invalid(everything) == tuple(everything)
    return evaluation, {path.name: path for path in map(StorePath.parse, closure)}


@pytest.mark.parametrize(
    "wanted, valid",
    [
        (["bottom"], {"bottom"}),
        (["bottom-doc"], {"bottom-doc"}),
        (["middle"], {"bottom", "bottom-doc", "middle"}),
        (["source"], set()),
    ],
    ids=str,
)
def test_inner_paths_of_a_collected_closure(
    tmp_path: Path, wanted: list[str], valid: set[str]
) -> None:
    """Of a package they are made without what is above them, as a layer needs them."""
    evaluation, paths = _collected_chain(tmp_path)
    derivation = evaluation()
    assert derivation.drv_path is not None
    _delete(tmp_path, derivation.drv_path)
    realise_paths(nix(tmp_path), derivation, [paths[name] for name in wanted], evaluation)
    found = {name for name, path in paths.items() if not nix(tmp_path).invalid([path])}
    # Both outputs come from one build, and the source is there since the evaluation.
    outputs = {"bottom", "bottom-doc"} if valid & {"bottom", "bottom-doc"} else set()
    assert found == {*valid, *outputs, "source"}


def test_paths_that_are_there_need_no_derivation(tmp_path: Path) -> None:
    """Nothing is evaluated, and nothing of the closure besides is asked for."""
    evaluation, paths = _collected_chain(tmp_path)
    derivation = evaluation()
    realise_paths(nix(tmp_path), derivation, [paths["bottom"]], None)

    def never() -> Derivation:
        raise AssertionError("evaluated")

    gone = Derivation(store_path(f"{unique_word()}.drv"), derivation.outputs, "out")
    realise_paths(nix(tmp_path), gone, [paths["bottom"]], never)
    assert nix(tmp_path).invalid([paths["top"]]) == (paths["top"],)


def test_a_path_that_no_derivation_of_the_package_makes(tmp_path: Path) -> None:
    """It is tried with substituters, and the error names it."""
    evaluation = _evaluation(tmp_path, shell_derivation("one", f"echo {unique_word()} > $out"))
    foreign = store_path(f"foreign-{unique_word()}")
    with pytest.raises(BuildFailedError) as caught:
        realise_paths(nix(tmp_path), evaluation(), [foreign], None)
    assert (foreign,) == caught.value.wanted


def test_a_missing_derivation_without_sources(tmp_path: Path) -> None:
    """Nix's own words say that it does not know how to build."""
    derivation = _evaluation(tmp_path, shell_derivation("gone", f"echo {unique_word()} > $out"))()
    assert derivation.drv_path is not None
    _delete(tmp_path, derivation.drv_path)
    with pytest.raises(BuildFailedError) as caught:
        realise(nix(tmp_path), derivation, ["out"], None)
    assert derivation.drv_path in caught.value.log


def test_another_evaluation_is_refused(tmp_path: Path) -> None:
    """If the sources now give another derivation, nothing is built."""
    derivation = _evaluation(tmp_path, shell_derivation("one", f"echo {unique_word()} > $out"))()
    assert derivation.drv_path is not None
    _delete(tmp_path, derivation.drv_path)
    other = _evaluation(tmp_path, shell_derivation("other", f"echo {unique_word()} > $out"))
    with pytest.raises(OutputChangedError, match="do not determine the result") as caught:
        realise(nix(tmp_path), derivation, ["out"], other)
    assert derivation == caught.value.recorded
    assert nix(tmp_path).invalid([path for _, path in caught.value.found.outputs])


def test_a_failed_build_shows_the_end_of_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error has the last lines, why it failed among them; all of them went by."""
    word = unique_word()
    # Shells without a `seq` know this as well.
    count = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line-$i. >&2; done"
    derivation = _evaluation(
        tmp_path, shell_derivation("failing", f"{count}; echo why-{word} >&2; exit 3")
    )()
    with pytest.raises(BuildFailedError) as caught:
        realise(nix(tmp_path), derivation, ["out"], None)
    log = caught.value.log
    assert f"why-{word}" in log and "line-100." in log and "line-1." not in log
    assert len(log.splitlines()) <= 30
    assert (f"{derivation.drv_path}!out",) == caught.value.wanted
    assert log in str(caught.value) and str(derivation.drv_path) in str(caught.value)
    err = capfd.readouterr().err
    assert "line-1." in err and f"why-{word}" in err


def test_a_log_that_is_not_utf_8(tmp_path: Path) -> None:
    """Whatever bytes a build prints, its failure is reported."""
    derivation = _evaluation(
        tmp_path, shell_derivation("bytes", f"printf '\\377{unique_word()}\\n' >&2; exit 1")
    )()
    with pytest.raises(BuildFailedError, match="\ufffd"):
        realise(nix(tmp_path), derivation, ["out"], None)


def test_an_output_that_was_not_made_is_a_failure(tmp_path: Path) -> None:
    """A builder that ends well without its output has failed."""
    derivation = _evaluation(tmp_path, shell_derivation("empty", f": {unique_word()}"))()
    with pytest.raises(BuildFailedError, match="output"):
        realise(nix(tmp_path), derivation, ["out"], None)


def test_a_store_path_that_nobody_can_build(tmp_path: Path) -> None:
    """It is neither valid nor can it be substituted, and there is no derivation: it is named."""
    path = store_path(f"never-{unique_word()}")
    with pytest.raises(NotBuildableError, match="not valid in this Nix store") as caught:
        realise(nix(tmp_path), Derivation(None, (("out", path),), "out"), ["out"], None)
    assert (path,) == caught.value.paths
    assert path in str(caught.value)


def test_an_output_that_there_is_not(tmp_path: Path) -> None:
    """The error lists the outputs that there are."""
    derivation = Derivation(None, (("dev", store_path("a")), ("out", store_path("b"))), "out")
    with pytest.raises(InvalidInputError, match=r"output 'doc' .*\['dev', 'out'\]") as caught:
        realise(nix(tmp_path), derivation, ["out", "doc"], None)
    assert "doc" == caught.value.value


def _configured(tmp_path: Path, group: str) -> Nix:
    text = CONFIGURATION.replace("build-users-group =", f"build-users-group = {group}")
    return Nix.find({**environment(tmp_path), "NIX_CONFIG": text})


def test_a_missing_build_group_is_done_without(tmp_path: Path) -> None:
    """Root builds, although the group of Nix's build users does not exist."""
    found = _configured(tmp_path, "no-such-group")
    derivation = _evaluation(tmp_path, shell_derivation("group", f"echo {unique_word()} > $out"))()
    (path,) = realise(found, derivation, ["out"], None)
    assert () == found.invalid([path])


@pytest.mark.parametrize(
    "user, group, remote, expected",
    [
        (0, "no-such-group", None, ("--option", "build-users-group", "")),
        (0, "root", None, ()),
        (0, "", None, ()),
        (0, "no-such-group", "daemon", ()),
        (1000, "no-such-group", None, ()),
    ],
)
def test_only_a_missing_group_is_done_without(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: int,
    group: str,
    remote: str,
    expected: tuple[str, ...],
) -> None:
    """A group that exists stays, and so does the configuration of a daemon and of other users."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    found = _configured(tmp_path, group)
    if remote:
        found = dataclasses.replace(found, environment={**found.environment, "NIX_REMOTE": remote})
    assert expected == without_missing_build_group(found)


#: What versions of Nix say when a build failed for want of a machine: system, features.
_NO_MACHINE = {
    "2.8": (
        "error: a 'riscv64-linux' with features {{{features}}} is required to build '{drv}', but I am a "
        "'x86_64-linux' with features {{benchmark, kvm}}\n"
    ),
    "2.30": (
        "error: Cannot build '{drv}'.\n       Reason: required system or feature not available\n"
        "       Required system: 'riscv64-linux' with features {{{features}}}\n"
        "       Current system: 'x86_64-linux' with features {{benchmark, kvm}}\n"
    ),
    "2.34": (
        "error: Cannot build '{drv}'.\n       Reason: platform mismatch\n"
        "       Required system: 'riscv64-linux'\n       Current system: 'x86_64-linux'\n"
    ),
}


@pytest.mark.parametrize("version", _NO_MACHINE)
def test_what_versions_of_nix_say_of_a_missing_machine(version: str) -> None:
    drv = "/nix/store/z-a.drv"
    text = _NO_MACHINE[version].format(drv=drv, features="kvm")
    found = missing_machine(f"building…\n{text}error: 1 dependency failed\n")
    assert found is not None
    assert (found.drv_path, found.system, found.machine) == (drv, "riscv64-linux", "x86_64-linux")
    # What a builder quotes of another Nix is not said by ours.
    assert missing_machine(f"test> {text}") is None
    same = text.replace("riscv64", "x86_64")
    if version != "2.34":
        found = missing_machine(same)
        assert found is not None and (found.system, found.features) == ("", "kvm")


def test_a_package_for_another_system(tmp_path: Path) -> None:
    """Without a builder the error says for which system it is, and what Nix needs; features are another matter."""
    word = unique_word()
    expression = shell_derivation("arm", f"echo {word} > $out").replace(
        "inherit system", 'system = "aarch64-linux"'
    )
    needs = shell_derivation("needs", "echo $arm > $out", f"arm = {expression};")
    evaluate_arm, evaluate_user = _evaluation(tmp_path, expression), _evaluation(tmp_path / "u", needs)
    arm = evaluate_arm()
    for evaluation, why in ((evaluate_arm, "it is"), (evaluate_user, f"it needs {arm.drv_path}, which is")):
        with pytest.raises(NoMachineError) as caught:
            realise(nix(tmp_path), evaluation(), ["out"], None)
        text = str(caught.value)
        assert f"{why} for aarch64-linux, and this machine is {SYSTEM}. Nix needs a remote builder" in text
        assert "`extra-platforms = aarch64-linux`" in text and "substituter" in text
    emulating = Nix.find(
        {**environment(tmp_path), "NIX_CONFIG": CONFIGURATION + "extra-platforms = aarch64-linux\n"}
    )
    (path,) = realise(emulating, arm, ["out"], None)
    assert Path(path).read_text() == f"{word}\n"
    special = shell_derivation("special", f"{word}", 'requiredSystemFeatures = [ "quantum" ];')
    with pytest.raises(NoMachineError, match=r"needs a machine with the features \{quantum\}") as caught:
        realise(nix(tmp_path), _evaluation(tmp_path / "q", special)(), ["out"], None)
    assert "system-features" in str(caught.value) and "emulation" not in str(caught.value)
