"""Lock files of real flakes, whose inputs move."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.store.locks.lock_file import parse_lock
from nixoci.store.locks.moves import moves_between
from nixoci.store.locks.update import LockFailedError, update_lock
from nixoci.store.messages.evaluation import OutdatedLockError, UndeclaredSourceError
from nixoci.store.nix import Nix

from tests.nixoci.store.locks.inputs_support import (
    PLAIN,
    Flake,
    commit,
    write_flake,
)
from tests.nixoci.store.nix_support import environment, write_tree


@pytest.fixture()
def flake(tmp_path: Path) -> Flake:
    return Flake.create(tmp_path)


def _moved(old: bytes, new: bytes) -> list[str]:
    moves = moves_between(parse_lock(old), parse_lock(new))
    return [str(move).split(":")[0].split(" (")[0] for move in moves]


def test_updates(flake: Flake) -> None:
    """All, some, or none but what is missing; each time the world is asked."""
    first = flake.lock()
    assert set(parse_lock(first)) == {
        *("base", "named", "plain", "sub", "tools", "tools/base", "tools/own")
    }
    assert parse_lock(first)["tools/base"].follows == "base"
    assert flake.evaluate()
    flake.move("base", "named")
    assert flake.lock(keep=True) == first
    named = flake.lock(inputs=["named"])
    assert _moved(first, named) == ["updated named"]
    nested = flake.lock(inputs=["tools/own"])
    assert _moved(named, nested) == ["updated tools/own"]
    (flake.inputs / "plain" / "word").write_text("1")
    rest = flake.lock()
    assert _moved(nested, rest) == ["updated base", "updated plain"]
    assert flake.lock() == rest
    # What one flake names otherwise is missing, and nothing else moves with it.
    flake.move("base", "named", "tools")
    text = (flake.root / "f" / "flake.nix").read_text()
    (flake.root / "f" / "flake.nix").write_text(
        text.replace("/base", "/named").replace("sub", "other").replace("./other", "./sub")
    )
    assert _moved(rest, flake.lock(keep=True)) == ["updated base", "added other", "removed sub"]


def test_a_flake_without_inputs_has_no_lock(flake: Flake) -> None:
    write_tree(flake.root, {"f/flake.nix": PLAIN})
    assert flake.lock() == b"" == flake.lock(keep=True)


def test_a_broken_lock_is_made_anew(flake: Flake) -> None:
    (flake.root / "f" / "flake.lock").write_text("<<<<<<< ours")
    with pytest.raises(LockFailedError):
        flake.lock(keep=True)
    assert parse_lock(flake.lock())


#: What Nix cannot lock, and what it says.
BROKEN = {
    "missing repository": ('git+file://INPUTS/nosuch', "nosuch"),
    "missing directory": ("path:./nosuch", "nosuch"),
    "no registry": ("flake:nosuch", "cannot find flake 'flake:nosuch' in the flake registries"),
    "working tree": ("git+file://INPUTS/dirty", "is dirty"),
    "nonsense": ("nonsense:x", "nonsense:x"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_locked(flake: Flake, kind: str) -> None:
    url, told = BROKEN[kind]
    commit(flake.inputs / "dirty", {"flake.nix": PLAIN})
    write_tree(flake.inputs, {"dirty/flake.nix": f"{PLAIN}\n"})
    write_flake(flake.root / "f", flake.inputs, f'x.url = "{url}";'.replace("INPUTS", str(flake.inputs)))
    with pytest.raises(LockFailedError) as caught:
        flake.lock()
    assert "f/flake.nix" in str(caught.value) and told in str(caught.value)
    assert str(flake.root) not in str(caught.value)
    assert caught.value.input == ("" if kind == "nonsense" else "x")


@pytest.mark.parametrize("name", ["", "--option", "a b", "a//b", "a/", "../x", "a\n"])
def test_what_is_no_input(flake: Flake, name: str) -> None:
    with pytest.raises(InvalidInputError):
        flake.lock(inputs=[name])


def test_there_is_no_such_flake(flake: Flake) -> None:
    with pytest.raises(UndeclaredSourceError):
        update_lock(flake.nix, root=str(flake.root), source="nosuch/flake.nix")


def _outdated(flake: Flake) -> OutdatedLockError:
    with pytest.raises(OutdatedLockError) as caught:
        flake.evaluate()
    assert str(flake.root) not in str(caught.value)
    assert "f/flake.lock" == caught.value.lock
    return caught.value


def test_an_outdated_lock_is_an_error_of_evaluation(flake: Flake) -> None:
    """It names what is missing, also where nothing of that can be had; and nothing is written."""
    path = flake.root / "f" / "flake.lock"
    everything = {"base", "named", "plain", "sub", "tools"}
    assert set(_outdated(flake).missing) == everything
    assert not path.exists()
    flake.lock()
    offline = Nix.find(environment(flake.inputs.parent))
    expected = flake.evaluate(offline)
    content = path.read_bytes()
    document = json.loads(content)
    del document["nodes"]["root"]["inputs"]["named"]
    path.write_text(json.dumps(document))
    with pytest.raises(OutdatedLockError) as caught:
        flake.evaluate(offline)
    assert caught.value.missing == ("named",)
    assert json.loads(path.read_text()) == document
    path.write_bytes(content)
    text = (flake.root / "f" / "flake.nix").read_text()
    (flake.root / "f" / "flake.nix").write_text(text.replace("/base", "/named"))
    assert _outdated(flake).missing == ()
    (flake.root / "f" / "flake.nix").write_text(text)
    assert flake.evaluate(offline) == expected


def test_a_working_tree_is_never_an_input(flake: Flake) -> None:
    """Newer Nix would evaluate it, and say so in a warning."""
    flake.lock()
    commit(flake.inputs / "dirty", {"flake.nix": PLAIN})
    write_tree(flake.inputs, {"dirty/flake.nix": f"{PLAIN}\n"})
    write_flake(flake.root / "f", flake.inputs, f'x.url = "git+file://{flake.inputs}/dirty";')
    assert _outdated(flake).missing == ("x",)
