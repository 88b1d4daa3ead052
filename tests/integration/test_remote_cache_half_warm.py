"""Caches and stores that have a part of what a build needs: always the same image."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Iterator, Mapping

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
    layering="popularity",
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


def test_each_step_alone_is_missing(
    machine: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix
) -> None:
    """The step is done, no other one, and nothing changes; its derivation is in no store."""
    _write(machine)
    expected = machine.dist()
    actions = tuple(cache.written)
    assert len(actions) == len(_STEPS)
    done = set()
    for number, action in enumerate(actions):
        worker = _fresh(machine, machine_nix, tmp_path / str(number))
        shutil.rmtree(machine.monorepo.root / "dist")
        with cache.hiding(action):
            run = worker.pants("package", "app:image")
        assert worker.dist() == expected
        assert run.counters["remote_cache_requests_cached"] == len(actions) - 1
        (step,) = _steps(run)
        done.add(step)
        # To evaluate is not to build, and a database is made of registrations.
        builds = not step.startswith("Evaluate") and not step.endswith("database")
        assert len(run.processes("Build ")) == (1 if builds else 0)
        if not builds:
            shutil.rmtree(tmp_path / str(number))
    assert done == _STEPS
