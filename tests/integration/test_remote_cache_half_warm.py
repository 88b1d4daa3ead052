"""A remote cache that has a part of what a build needs: always the same image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Iterator, Mapping

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
    write(machine)
    expected = machine.dist()
    actions = tuple(cache.written)
    assert len(actions) == len(STEPS)
    found = {}
    for action in actions:
        worker = fresh(machine, machine_nix, tmp_path_factory.mktemp("alone"))
        with cache.hiding(action):
            run = package(worker, expected)
        assert run.counters["remote_cache_requests_cached"] == len(actions) - 1
        (step,) = steps(run)
        found[step] = Alone(action, run, builds(run))
    return found


def test_each_step_alone_is_missing(missing_alone: Mapping[str, Alone]) -> None:
    """The step is done, no other one, and nothing changes; its derivation is in no store."""
    assert missing_alone.keys() == STEPS
    for step, alone in missing_alone.items():
        # To evaluate is not to build, and a database is made of registrations.
        needs_it = not step.startswith("Evaluate") and not step.endswith("database")
        assert len(alone.builds) == (1 if needs_it else 0)


@pytest.mark.parametrize(
    "missing, built",
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
            tuple(sorted(step for step in STEPS if not step.startswith("Evaluate"))),
            ("app:config", "app:greeting"),
        ),
        (tuple(sorted(STEPS)), ("app:config", "app:greeting")),
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
    built: tuple[str, ...],
) -> None:
    """These steps are done, no other ones, and each package that they need is built once."""
    write(machine)
    worker = fresh(machine, machine_nix, tmp_path)
    with cache.hiding(*(missing_alone[step].action for step in missing)):
        run = package(worker, machine.dist())
    assert steps(run) <= set(missing)
    assert but_queries(steps(run)) == but_queries(missing)
    assert tuple(sorted(builds(run))) == built
