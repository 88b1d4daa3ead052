"""Caches and stores that have a part of what a build needs: always the same image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping

import pytest

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.remote_cache import RemoteCache, remote_cache

_BUILD = """\
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_package(name="config", source="config.nix", dependencies=[":tiny"])
nix_source(name="tiny", source="tiny.nix")
nix_image(
    name="image",
    packages=[":greeting"],
    config=":config",
    nix_database=True,
    max_layers={max_layers},
    output_format="{output_format}",
)
"""

_CONFIG = """\
let inherit (import ./tiny.nix) c; in derivation {
  name = "config";
  system = "x86_64-linux";
  builder = "/bin/sh";
  inherit c;
  args = [ "-e" "-c" ''echo "{\\"Env\\": [\\"C=$c\\"]}" > $out'' ];
}
"""

#: Every step of the image that a cache can have.
_STEPS = {
    "Evaluate app:greeting",
    "Evaluate app:config",
    "Query closure of app:greeting",
    "Query closure of app:config",
    "Read the image config",
    "Digest layer of c",
    "Digest layer of greeting",
    "Digest layer of the Nix database",
}


def _write(
    machine: Machine, *, max_layers: int = 3, comment: str = "", output_format: str = "descriptor"
) -> None:
    source = materialize_tiny_closure(machine.monorepo.root / "app")
    source.write_text(f"{source.read_text()}{comment}")
    machine.monorepo.write("app/config.nix", _CONFIG)
    machine.monorepo.write(
        "app/BUILD", _BUILD.format(max_layers=max_layers, output_format=output_format)
    )


def _steps(run: PantsRun) -> set[str]:
    """The steps that were started; what makes a step possible (finding Nix, building) is none."""
    started = [text for text in run.started if not text.startswith(("Find Nix", "Build "))]
    return {step for step in _STEPS if any(text.startswith(step) for text in started)} | {
        text for text in started if not text.startswith(tuple(_STEPS))
    }


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
    _write(made)
    run = made.pants("package", "app:image")
    assert _steps(run) == _STEPS
    return made


def _fresh(machine: Machine, machine_nix: Nix, directory: Path) -> Machine:
    """The same clone with an empty store, whose directory is `directory`/nix, and an empty cache."""
    monorepo = machine.monorepo
    nix = dataclasses.replace(
        monorepo.nix, prefix=machine_nix.with_fresh_root(directory / "nix").prefix
    )
    return dataclasses.replace(
        machine, monorepo=dataclasses.replace(monorepo, nix=nix, cache=directory / "cache")
    )


@dataclasses.dataclass(frozen=True)
class Alone:
    """What a worker did that found every result but one.

    :param builds: targets that it built.
    """

    action: str
    run: PantsRun
    builds: tuple[str, ...]


@pytest.fixture(scope="module")
def missing_alone(
    machine: Machine,
    cache: RemoteCache,
    tmp_path_factory: pytest.TempPathFactory,
    machine_nix: Nix,
) -> Mapping[str, Alone]:
    """For every step, a worker with an empty store to which its result alone is missing."""
    _write(machine)
    expected = machine.dist()
    actions = tuple(cache.written)
    assert len(actions) == len(_STEPS)
    found = {}
    for action in actions:
        worker = _fresh(machine, machine_nix, tmp_path_factory.mktemp("alone"))
        with cache.hiding(action):
            run = _package(worker, expected)
        assert run.counters["remote_cache_requests_cached"] == len(actions) - 1
        (step,) = _steps(run)
        found[step] = Alone(action, run, _builds(run))
    return found


def _package(machine: Machine, expected: Mapping[str, bytes], *options: str) -> PantsRun:
    """Packages the image into an empty dist/, where nothing but `expected` may be afterwards."""
    shutil.rmtree(machine.monorepo.root / "dist", ignore_errors=True)
    run = machine.pants(*options, "package", "app:image")
    assert machine.dist() == expected
    assert "remote_cache_read_errors" not in run.counters
    return run


def _builds(run: PantsRun) -> tuple[str, ...]:
    return tuple(text.split()[1] for text in run.processes("Build "))


def test_each_step_alone_is_missing(missing_alone: Mapping[str, Alone]) -> None:
    """The step is done, no other one, and nothing changes; its derivation is in no store."""
    assert missing_alone.keys() == _STEPS
    for step, alone in missing_alone.items():
        # To evaluate is not to build, and a database is made of registrations.
        builds = not step.startswith("Evaluate") and not step.endswith("database")
        assert len(alone.builds) == (1 if builds else 0)


@pytest.mark.parametrize(
    "missing, builds",
    [
        # Of what can be made in parallel, both need the same package: it is built once.
        (("Digest layer of c", "Digest layer of greeting"), ("app:greeting",)),
        (("Query closure of app:greeting", "Digest layer of greeting"), ("app:greeting",)),
        (("Query closure of app:config", "Read the image config"), ("app:config",)),
        (("Evaluate app:greeting", "Digest layer of greeting"), ("app:greeting",)),
        (("Evaluate app:greeting", "Query closure of app:greeting"), ("app:greeting",)),
        (("Query closure of app:greeting", "Digest layer of the Nix database"), ("app:greeting",)),
        (
            ("Evaluate app:config", "Digest layer of c", "Digest layer of the Nix database"),
            ("app:greeting",),
        ),
        (
            tuple(sorted(step for step in _STEPS if not step.startswith("Evaluate"))),
            ("app:config", "app:greeting"),
        ),
        (tuple(sorted(_STEPS)), ("app:config", "app:greeting")),
    ],
    ids=lambda value: f"{len(value)}" if isinstance(value, tuple) else None,
)
def test_several_steps_are_missing(
    machine: Machine,
    cache: RemoteCache,
    missing_alone: Mapping[str, Alone],
    tmp_path: Path,
    machine_nix: Nix,
    missing: tuple[str, ...],
    builds: tuple[str, ...],
) -> None:
    """These steps are done, no other ones, and each package that they need is built once."""
    _write(machine)
    worker = _fresh(machine, machine_nix, tmp_path)
    with cache.hiding(*(missing_alone[step].action for step in missing)):
        run = _package(worker, machine.dist())
    assert _steps(run) == set(missing)
    assert tuple(sorted(_builds(run))) == builds


def _with_daemon(machine: Machine, pants: Callable[..., PantsRun]) -> Callable[..., PantsRun]:
    """Returns what packages the image by the daemon, into an empty dist/."""

    def package() -> PantsRun:
        shutil.rmtree(machine.monorepo.root / "dist", ignore_errors=True)
        # Pants hears of changed files from the kernel, and a run does not wait for that.
        time.sleep(0.5)
        return pants("package", "app:image")

    return package


def test_garbage_is_collected_while_the_daemon_runs(
    machine: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix
) -> None:
    """What pantsd remembers of the store does not count; what it remembers of the image does."""
    _write(machine, max_layers=1)
    reference = _fresh(machine, machine_nix, tmp_path / "reference")
    reference.pants("package", "app:image")
    split_otherwise = reference.dist()
    _write(machine)
    reference.pants("package", "app:image")
    expected = reference.dist()
    assert expected != split_otherwise

    worker = _fresh(machine, machine_nix, tmp_path / "worker")
    store = tmp_path / "worker" / "nix" / "store"
    nix = worker.monorepo.nix
    # Nothing is taken from other machines, so the daemon has made and seen everything itself.
    with cache.hiding(*cache.written), worker.daemon() as pants:
        package = _with_daemon(worker, pants)
        first = package()
        assert _steps(first) == _STEPS
        assert worker.dist() == expected

        nix.run("nix-store", "--gc")
        assert _paths(store) == set()
        unchanged = package()
        assert unchanged.started == ()
        assert worker.dist() == expected
        assert _paths(store) == set()

        # Other layers of the same paths: the closures are known, and the paths are gone.
        _write(worker, max_layers=1)
        split = package()
        assert _steps(split) == {"Digest layer of greeting"}
        assert _builds(split) == ("app:greeting",)
        assert worker.dist() == split_otherwise

        # An archive is no result that could be remembered.
        nix.run("nix-store", "--gc")
        _write(worker, output_format="oci-layout")
        written = package()
        assert sorted(_builds(written)) == ["app:config", "app:greeting"]
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
        assert sorted(_builds(package())) == ["app:config", "app:greeting"]
        nix.run("nix-store", "--gc")
        _write(worker)
        assert package().started == ()
        assert worker.dist() == expected
        assert _paths(store) == set()


def _paths(store: Path) -> set[str]:
    """Returns the names of the paths in a store."""
    return {path.name[33:] for path in store.glob("*-*") if "." not in path.name[:33]}


@pytest.mark.parametrize("gone", ["the derivation", "the outputs", "both"])
def test_parts_of_a_package_are_gone(
    machine: Machine,
    cache: RemoteCache,
    missing_alone: Mapping[str, Alone],
    tmp_path: Path,
    machine_nix: Nix,
    gone: str,
) -> None:
    """Outputs without their derivation are enough; a derivation without its outputs is built; without
    both, it is evaluated again, as part of building."""
    _write(machine)
    worker = _fresh(machine, machine_nix, tmp_path)
    expected = machine.dist()
    nix = worker.monorepo.nix
    with cache.hiding(*cache.written):
        _package(worker, expected)
    store = tmp_path / "nix" / "store"
    outputs = [p for p in store.glob("*-*") if p.name[33:] in ("greeting", "c", "config")]
    derivations = list(store.glob("*.drv"))
    assert len(outputs) == 3
    doomed = {"the derivation": derivations, "the outputs": outputs, "both": derivations + outputs}
    # In the namespace of this Nix the store has its usual place.
    names = [f"/nix/store/{path.name}" for path in doomed[gone]]
    options = ("--option", "gc-keep-derivations", "false", "--option", "gc-keep-outputs", "false")
    nix.run("nix-store", *options, "--delete", *names)
    step = "Digest layer of greeting"
    shutil.rmtree(worker.monorepo.cache)
    with cache.hiding(missing_alone[step].action):
        run = _package(worker, expected)
    assert _steps(run) == {step}
    assert _builds(run) == (() if gone == "the derivation" else ("app:greeting",))
    assert ("greeting.drv" in _paths(store)) == (gone != "the derivation")


def test_a_comment_changes(
    machine: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix
) -> None:
    """The sources are evaluated again, to the same derivation, and that is all."""
    _write(machine)
    expected = machine.dist()
    evaluations = {step for step in _STEPS if step.startswith("Evaluate")}
    comments = ("# one\n", "# two\n", "# three\n")
    worker = _fresh(machine, machine_nix, tmp_path)
    _write(machine, comment=comments[0])
    assert _steps(_package(worker, expected)) == evaluations
    with worker.daemon() as pants:
        package = _with_daemon(worker, pants)
        assert package().started == ()
        _write(machine, comment=comments[1])
        assert _steps(package()) == evaluations
        assert worker.dist() == expected
    # The package, once more on a machine that has no derivation, is built of what is there now.
    other = _fresh(machine, machine_nix, tmp_path / "other")
    _write(machine, comment=comments[2])
    with cache.hiding(*cache.written):
        run = _package(other, expected)
    assert _steps(run) == _STEPS
    assert _paths(tmp_path / "nix" / "store") & {"greeting", "config"} == set()
