"""What differs between versions of Nix: how it is kept from fetching without a hash, how it names its store, and how
it updates lock files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nixoci.batch.evaluate_many import evaluate_many
from nixoci.batch.realise_many import Wanted, realise_many
from nixoci.store.evaluate import Attribute, evaluate
from nixoci.store.messages.evaluation import OutdatedLockError, UnpinnedFetchError
from nixoci.store.locks.lock_file import parse_lock
from nixoci.store.locks.moves import moves_between
from nixoci.store.locks.update import LockFailedError
from nixoci.store.nix import Nix as CoreNix
from nixoci.store.realise import BuildFailedError, NoMachineError, realise

from tests.integration.support.nix import Nix
from tests.nixoci.store.locks.inputs_support import PLAIN, Flake, commit, write_flake
from tests.nixoci.store.nix_support import SYSTEM, shell_derivation, unique_word, write_tree

_UNPINNED = {
    "fetchurl": '"http://host.invalid/file"',
    "fetchTarball": '{ url = "http://host.invalid/tree.tar.gz"; }',
    "fetchGit": '{ url = "http://host.invalid/repository"; ref = "main"; }',
    "fetchTree": '{ type = "git"; url = "http://host.invalid/repository"; }',
    "fetchMercurial": '"http://host.invalid/repository"',
    "getFlake": '"git+http://host.invalid/repository"',
}


@pytest.mark.parametrize("function", _UNPINNED)
def test_a_fetch_without_a_hash_is_refused(
    newer_nix: Nix, tmp_path: Path, function: str
) -> None:
    """Before anything is fetched; the call is named, with its URL and its place."""
    fetched = f"${{builtins.{function} {_UNPINNED[function]}}}"
    write_tree(tmp_path, {"s/default.nix": f"{{ system }}:\n{shell_derivation('x', fetched)}\n"})
    with pytest.raises(UnpinnedFetchError) as caught:
        evaluate(
            CoreNix.find(newer_nix.environment()),
            root=str(tmp_path / "s"),
            source="default.nix",
            attr="",
            system=SYSTEM,
        )
    error = caught.value
    assert function == error.function
    assert "http://host.invalid/" in error.url
    assert error.place.startswith("default.nix:2:")


def test_a_file_is_told_what_it_was_told_before(newer_nix: Nix, tmp_path: Path) -> None:
    """To its expressions, the file is not evaluated in pure mode: there is a current system, the target's."""
    told = '${builtins.currentSystem}-${builtins.getEnv "HOME"}-'
    write_tree(tmp_path, {"s/default.nix": f"{{ system }}: {shell_derivation('x', told)}"})
    found = evaluate(
        CoreNix.find(newer_nix.environment()),
        root=str(tmp_path / "s"),
        source="default.nix",
        attr="",
        system="aarch64-linux",
    )
    assert "aarch64-linux--" in Path(str(found.drv_path)).read_text()


@pytest.mark.parametrize(
    "url, directory",
    [
        ("{here}/a b", "a b/nix/store"),
        ("local?root={here}/c%20d+e", "c d+e/nix/store"),
        ("local?real={here}/real&state={here}/state", "real"),
    ],
)
def test_the_store_is_where_nix_has_it(
    newer_nix: Nix, tmp_path: Path, url: str, directory: str
) -> None:
    """However a version repeats what it was told."""
    file = write_tree(tmp_path, {"file": "text"}) / "file"
    environment = {
        **newer_nix.environment(),
        "NIX_CONFIG": f"store = {url.format(here=tmp_path)}",
    }
    nix = CoreNix.find(environment)
    path = nix.run(("nix-store", "--add", str(file))).decode().strip()
    assert f"{tmp_path}/{directory}" == nix.store_directory
    assert "text" == Path(nix.store_root + path).read_text()


def test_a_package_for_another_system(newer_nix: Nix, tmp_path: Path) -> None:
    """Each version has its own words for that no machine can build it."""
    word = unique_word()
    arm = shell_derivation("arm", f"echo {word} > $out").replace("inherit system", 'system = "aarch64-linux"')
    write_tree(tmp_path, {"s/default.nix": f"{{ system }}: {arm}"})
    nix = CoreNix.find(newer_nix.environment())
    derivation = evaluate(nix, root=str(tmp_path / "s"), source="default.nix", attr="", system=SYSTEM)
    with pytest.raises(NoMachineError, match="it is for aarch64-linux, and this machine is x86_64-linux"):
        realise(nix, derivation, ["out"], None)
    emulating = {**newer_nix.environment(), "NIX_CONFIG": "extra-platforms = aarch64-linux"}
    (path,) = realise(CoreNix.find(emulating), derivation, ["out"], None)
    assert Path(path).read_text() == f"{word}\n"


def test_one_of_several_builds_fails(newer_nix: Nix, tmp_path: Path) -> None:
    """Each version has its own words for that; the log of the error is that of its own build, or of what it needs. All
    say how far they are."""
    word = unique_word()
    commands = {f"p{n}": f"echo {word} noise-{n}; echo {word} > $out" for n in range(3)}
    commands["broken"] = f"echo {word} this-is-why; printf 'odd\\377\\033[31m-byte\\n'; exit 3"
    attributes = "".join(f"{name} = {shell_derivation(name, text)};" for name, text in commands.items())
    attributes += f"between = {shell_derivation('between', 'echo $broken > $out', 'inherit broken;')};"
    attributes += f"needs = {shell_derivation('needs', 'echo $between > $out', 'inherit between;')};"
    write_tree(tmp_path, {"s/default.nix": f"{{ system }}: rec {{ {attributes} }}"})
    nix = CoreNix.find(newer_nix.environment())
    file = Attribute(str(tmp_path / "s"), "default.nix", "", SYSTEM)
    names = (*commands, "needs")
    found = evaluate_many(nix, file, names)
    packages = tuple(Wanted(found[name], ("out",)) for name in names)
    shown: list[str] = []
    log = tmp_path / "log"
    *good, broken, needs = realise_many(nix, packages, str(log), shown.append)
    line = re.compile(r"Building (\w+) \(\d built, \d left(, 1 failed)?\)")
    assert shown[-1] == ""
    assert {line.sub(r"\1", words) for words in shown[:-1]} == set(commands)
    # Whatever a builder writes, messages stay messages.
    text = log.read_text()
    assert "@nix" not in text and "\x1b" not in text and "odd\ufffd-byte\n" in text
    assert text.count("building '/nix/store/") == 4
    assert good == [None] * 3
    for error in (broken, needs):
        assert isinstance(error, BuildFailedError)
        assert "this-is-why" in error.log and "noise" not in error.log
        assert "failed with exit code 3" in error.log and "-between.drv" not in error.log


def test_lock_files_are_updated(newer_nix: Nix, tmp_path: Path) -> None:
    """All inputs, or some, also one of another input, or what is missing; what cannot be locked has its name."""

    def moved(old: bytes, new: bytes) -> list[str]:
        return [move.path for move in moves_between(parse_lock(old), parse_lock(new))]

    flake = Flake.create(tmp_path, newer_nix.bin_directory)
    with pytest.raises(OutdatedLockError) as outdated:
        flake.evaluate()
    assert "named" in outdated.value.missing
    first = flake.lock(keep=True)
    assert flake.evaluate()
    flake.move("base", "named")
    assert flake.lock(keep=True) == first
    some = flake.lock(inputs=["base", "tools/own"])
    assert moved(first, some) == ["base", "tools/own"]
    assert moved(some, flake.lock()) == ["named"]
    commit(flake.inputs / "dirty", {"flake.nix": PLAIN})
    write_tree(flake.inputs, {"dirty/flake.nix": f"{PLAIN}\n"})
    write_flake(flake.root / "f", flake.inputs, f'x.url = "git+file://{flake.inputs}/dirty";')
    with pytest.raises(LockFailedError) as failed:
        flake.lock(keep=True)
    assert failed.value.input == "x" and "is dirty" in str(failed.value)
    with pytest.raises(OutdatedLockError) as outdated:
        flake.evaluate()
    assert outdated.value.missing == ("x",)
