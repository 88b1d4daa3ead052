"""Stores that were emptied, in whole or in part, and sources that changed in their words alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping

import pytest

from tests.integration.support.half_warm import (
    STEPS,
    builds,
    but_queries,
    fresh,
    package,
    steps,
    write,
)
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.remote_cache import RemoteCache, remote_cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteCache]:
    with remote_cache(tmp_path_factory.mktemp("remote-cache")) as running:
        yield running


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix, cache: RemoteCache
) -> Machine:
    """A machine that has made the image, with a store and a cache of its own."""
    directory = tmp_path_factory.mktemp("machine")
    nix = machine_nix.with_fresh_root(directory / "nix")
    made = Machine.create(directory, nix, "machine", *cache.options)
    write(made)
    run = made.pants("package", "app:image")
    assert but_queries(steps(run)) == but_queries(STEPS)
    return made


@pytest.fixture(scope="module")
def expected(machine: Machine) -> dict[str, bytes]:
    return machine.dist()


@pytest.fixture(scope="module")
def split_otherwise(
    machine: Machine,
    expected: Mapping[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    machine_nix: Nix,
) -> dict[str, bytes]:
    """What an image of the same store paths in one layer comes to."""
    write(machine, max_layers=1)
    worker = fresh(machine, machine_nix, tmp_path_factory.mktemp("reference"))
    worker.pants("package", "app:image")
    assert worker.dist() != expected
    return worker.dist()


def _with_daemon(machine: Machine, pants: Callable[..., PantsRun]) -> Callable[..., PantsRun]:
    """Returns what packages the image by the daemon, into an empty dist/."""

    def run() -> PantsRun:
        shutil.rmtree(machine.monorepo.root / "dist", ignore_errors=True)
        # Pants hears of changed files from the kernel, and a run does not wait for that.
        time.sleep(0.5)
        return pants("package", "app:image")

    return run


def test_garbage_is_collected_while_the_daemon_runs(
    machine: Machine,
    cache: RemoteCache,
    expected: Mapping[str, bytes],
    split_otherwise: Mapping[str, bytes],
    tmp_path: Path,
    machine_nix: Nix,
) -> None:
    """What pantsd remembers of the store does not count; what it remembers of the image does."""
    write(machine)
    worker = fresh(machine, machine_nix, tmp_path / "worker")
    store = tmp_path / "worker" / "nix" / "store"
    nix = worker.monorepo.nix
    # Nothing is taken from other machines, so the daemon has made and seen everything itself.
    with cache.hiding(*cache.written), worker.daemon() as pants:
        again = _with_daemon(worker, pants)
        first = again()
        assert but_queries(steps(first)) == but_queries(STEPS)
        assert worker.dist() == expected

        nix.run("nix-store", "--gc")
        assert _paths(store) == set()
        unchanged = again()
        assert unchanged.started == ()
        assert worker.dist() == expected
        assert _paths(store) == set()

        # Other layers of the same paths: the closures are known, and the paths are gone.
        write(worker, max_layers=1)
        split = again()
        assert steps(split) == {"Digest layer of greeting"}
        assert builds(split) == ("app:greeting",)
        assert worker.dist() == split_otherwise

        # An archive is no result that could be remembered.
        nix.run("nix-store", "--gc")
        write(worker, output_format="oci-layout")
        written = again()
        # The process that writes builds what its layers need, and no package besides.
        assert builds(written) == ()
        assert "greeting" in _paths(store) and "config" not in _paths(store)
        layers = worker.monorepo.descriptor("app/image.image.json")["layers"]
        blobs = worker.monorepo.root / "dist" / "app" / "image" / "blobs" / "sha256"
        for layer in layers:
            algorithm, _, digest = layer["digest"].partition(":")
            assert hashlib.new(algorithm, (blobs / digest).read_bytes()).hexdigest() == digest
        assert worker.monorepo.descriptor("app/image.image.json") == json.loads(
            expected["app/image.image.json"]
        )

        # Twice in a row from an empty store, and back to what was made first.
        nix.run("nix-store", "--gc")
        assert builds(again()) == () and "greeting" in _paths(store)
        nix.run("nix-store", "--gc")
        write(worker)
        assert again().started == ()
        assert worker.dist() == expected
        assert _paths(store) == set()


def _paths(store: Path) -> set[str]:
    """Returns the names of the paths in a store."""
    return {path.name[33:] for path in store.glob("*-*") if "." not in path.name[:33]}


@pytest.mark.parametrize("gone", ["the derivation", "the outputs", "both"])
def test_parts_of_a_package_are_gone(
    machine: Machine,
    cache: RemoteCache,
    expected: Mapping[str, bytes],
    split_otherwise: Mapping[str, bytes],
    tmp_path: Path,
    machine_nix: Nix,
    gone: str,
) -> None:
    """Outputs without their derivation are enough; a derivation without its outputs is built; without
    both, it is evaluated again, as part of building."""
    write(machine)
    worker = fresh(machine, machine_nix, tmp_path)
    nix = worker.monorepo.nix
    with cache.hiding(*cache.written):
        package(worker, expected)
    store = tmp_path / "nix" / "store"
    outputs = [p for p in store.glob("*-*") if p.name[33:] in ("greeting", "c", "config")]
    derivations = list(store.glob("*.drv"))
    assert len(outputs) == 3
    doomed = {"the derivation": derivations, "the outputs": outputs, "both": derivations + outputs}
    # In the namespace of this Nix the store has its usual place.
    names = [f"/nix/store/{path.name}" for path in doomed[gone]]
    options = ("--option", "gc-keep-derivations", "false", "--option", "gc-keep-outputs", "false")
    nix.run("nix-store", *options, "--delete", *names)
    # Of what was written first, all is there: this layer is another one.
    shutil.rmtree(worker.monorepo.cache)
    write(machine, max_layers=1)
    with cache.hiding(*tuple(cache.written)[len(STEPS) :]):
        run = package(worker, split_otherwise)
    assert steps(run) == {"Digest layer of greeting"}
    assert builds(run) == (() if gone == "the derivation" else ("app:greeting",))
    assert ("greeting.drv" in _paths(store)) == (gone != "the derivation")


def test_a_comment_changes(
    machine: Machine,
    cache: RemoteCache,
    expected: Mapping[str, bytes],
    tmp_path: Path,
    machine_nix: Nix,
) -> None:
    """The sources are evaluated again, to the same derivation, and that is all."""
    evaluations = {step for step in STEPS if step.startswith("Evaluate")}
    comments = ("# one\n", "# two\n", "# three\n")
    worker = fresh(machine, machine_nix, tmp_path)
    write(machine, comment=comments[0])
    assert steps(package(worker, expected)) == evaluations
    with worker.daemon() as pants:
        again = _with_daemon(worker, pants)
        assert again().started == ()
        write(machine, comment=comments[1])
        assert steps(again()) == evaluations
        assert worker.dist() == expected
    # The package, once more on a machine that has no derivation, is built of what is there now.
    other = fresh(machine, machine_nix, tmp_path / "other")
    write(machine, comment=comments[2])
    with cache.hiding(*cache.written):
        run = package(other, expected)
    assert but_queries(steps(run)) == but_queries(STEPS)
    assert _paths(tmp_path / "nix" / "store") & {"greeting", "config"} == set()
