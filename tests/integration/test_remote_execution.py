"""Remote execution: what needs no store runs on any worker, the rest where the workers have Nix.

buildbox-casd executes. What its workers see is bound into their sandboxes: those without Nix have a
shell and a Python, those with Nix a `/nix` of their own besides, which this machine never looks at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import pytest

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.machines import Machine
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry
from tests.integration.support.remote_execution import nix_worker, plain_worker, remote_execution

_BUILD = """\
nix_package(name="a", source="tiny.nix", attr="a")
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_layer(name="layer", packages=[":a"], max_layers=2, layering="popularity")
nix_image(
    name="image",
    layers=[":layer"],
    packages=[":greeting"],
    layering="popularity",
    nix_database=True,
    repository="acme/tiny",
)
"""

#: Two evaluations, two closures, four layers of which one is the database's.
_STEPS = 8

_DEFAULTS = '__defaults__({(nix_package, nix_layer, nix_image): {"environment": "workers"}})\n'

_NAMES = "--environments-preview-names={'workers': '//:workers'}"


def _write(machine: Machine, *, workers: str = "") -> None:
    """:param workers: fields of the environment of all targets; empty for no environment."""
    materialize_tiny_closure(machine.monorepo.root / "tiny")
    machine.monorepo.write("tiny/BUILD", (_DEFAULTS if workers else "") + _BUILD)
    if workers:
        machine.monorepo.write("BUILD", f'remote_environment(name="workers", {workers})\n')


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Machine:
    """A machine without environments that has packaged the image."""
    machine = Machine.create(tmp_path_factory.mktemp("local"), machine_nix, "local")
    _write(machine)
    run = machine.pants("package", "tiny:image")
    assert "remote_execution_requests" not in run.counters
    return machine


def test_workers_without_nix(local: Machine, tmp_path: Path, machine_nix: Nix) -> None:
    """The layer of the database is digested by a worker, all else here: the image is the same."""
    with remote_execution(tmp_path / "casd", plain_worker()) as server:
        machine = Machine.create(tmp_path, machine_nix, "machine", _NAMES, *server.options)
        _write(machine, workers="has_nix=False")
        run = machine.pants("package", "tiny:image")
        assert machine.dist() == local.dist()
        assert run.counters["remote_execution_requests"] == 1
        assert run.counters["remote_execution_success"] == 1
        assert run.counters["remote_cache_write_successes"] == _STEPS
        assert len(run.processes("Find Nix")) == 1


def test_workers_with_nix(
    local: Machine, tmp_path: Path, machine_nix: Nix, plain_registry: Registry
) -> None:
    """Everything is done by workers and nothing here, where only a push needs the store."""
    nix = tmp_path / "nix of this machine"
    here = machine_nix.with_fresh_root(nix)
    worker = nix_worker(machine_nix, tmp_path / "nix of the workers")
    with remote_execution(tmp_path / "casd", worker) as server:
        machine = Machine.create(tmp_path, here, "machine", _NAMES, *server.options)
        _write(machine, workers="has_nix=True")
        run = machine.pants("package", "tiny:image")
        assert machine.dist() == local.dist()
        # Both closures are asked for twice, as the packages have to be built in between.
        assert len(run.processes("Build")) == 2
        assert run.counters["remote_execution_requests"] == _STEPS + 4
        assert "local_execution_requests" not in run.counters
        assert run.counters["remote_cache_write_successes"] == _STEPS
        built = {path.name[33:] for path in (tmp_path / "nix of the workers/store").glob("*")}
        assert {"a", "b", "c", "greeting"} <= built
        assert list(nix.iterdir()) == []

        other = Machine.create(tmp_path, here, "other", _NAMES, *server.options)
        _write(other, workers="has_nix=True")
        registries = {"test": {"address": plain_registry.host, "default": True}}
        option = f"--nix-images-registries={registries}"
        again = other.pants(option, "package", "publish", "tiny:image")
        assert again.counters["remote_cache_requests_cached"] == _STEPS
        assert "remote_execution_requests" not in again.counters
        assert again.processes("Evaluate", "Query", "Digest") == ()
        image = other.monorepo.descriptor("tiny/image.image.json")
        assert image["digest"] == local.monorepo.descriptor("tiny/image.image.json")["digest"]
    layers = local.monorepo.descriptor("tiny/image.image.json")["layers"]
    uploads = [r for r in plain_registry.requests("PUT", "/blobs/uploads/") if r.status == 201]
    assert len(uploads) == len(layers) + 1
    assert {"a", "b", "c", "greeting"} <= {path.name[33:] for path in (nix / "store").glob("*")}


def _error(directory: Path, nix: Nix, worker: Mapping[str, str], *options: str, fields: str) -> str:
    with remote_execution(directory / "casd", worker) as server:
        machine = Machine.create(directory, nix, "machine", *options, *server.options)
        _write(machine, workers=fields)
        return machine.pants("package", "tiny:image", check=False).error


def test_worker_that_has_no_nix_although_it_should(tmp_path: Path, machine_nix: Nix) -> None:
    error = _error(tmp_path, machine_nix, plain_worker(), _NAMES, fields="has_nix=True")
    assert (
        "a worker of the environment `workers` has no Nix, although the field `has_nix` of "
        "//:workers is set. No `nix` in /usr/local/" in error
    )
    assert "Or leave `has_nix` out" in error


def test_workers_that_share_no_store(tmp_path: Path, machine_nix: Nix) -> None:
    """Without a /nix from outside, each process has one of its own."""
    worker = nix_worker(machine_nix, tmp_path / "nix")
    worker = {there: here for there, here in worker.items() if there != "/nix"}
    error = _error(tmp_path, machine_nix, worker, _NAMES, fields="has_nix=True")
    assert "needs store paths that are still not valid after tiny:" in error
    assert (
        "It was done by a worker of the environment `workers`: all of its workers must have one Nix "
        "store, or else its field `has_nix` must not be set." in error
    )


def test_worker_without_python(tmp_path: Path, machine_nix: Nix) -> None:
    worker = {there: here for there, here in plain_worker().items() if there != "/usr/local"}
    error = _error(tmp_path, machine_nix, worker, _NAMES, fields="has_nix=False")
    assert (
        "Digest layer of the Nix database of 4 store paths: a worker of the environment `workers` "
        "has no Python 3.9 or later" in error
    )


def test_remote_execution_without_environments(tmp_path: Path, machine_nix: Nix) -> None:
    """Pants then runs all processes remotely, and nothing says that the workers have Nix."""
    error = _error(tmp_path, machine_nix, plain_worker(), fields="")
    assert "Nix is needed, and all processes run on remote workers" in error
    assert "`remote_environment`" in error


def test_without_remote_execution_the_keys_are_those_of_this_machine(local: Machine) -> None:
    """An environment that falls back to this machine shares its cache with no environment at all."""
    before = local.dist()
    _write(local, workers='fallback_environment="__local__"')
    run = local.pants(_NAMES, "package", "tiny:image")
    assert local.dist() == before
    assert run.started == ()
    assert "local_execution_requests" not in run.counters
