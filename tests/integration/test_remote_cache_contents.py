"""How Pants treats the contents of what it finds (`cache_content_behavior`), as docs/ci.md says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.machines import Machine
from tests.integration.support.nix import Nix
from tests.integration.support.remote_cache import RemoteCache, remote_cache

_BUILD = """\
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_image(name="image", packages=[":greeting"], max_layers=2, layering="popularity")
"""

#: The third one, `defer`, does not end with Pants 2.17 when contents are lost.
_SAFE = ("fetch", "validate")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteCache]:
    with remote_cache(tmp_path_factory.mktemp("remote-cache")) as running:
        yield running


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix, cache: RemoteCache
) -> Machine:
    """A machine that has made the image."""
    directory = tmp_path_factory.mktemp("machine")
    nix = machine_nix.with_fresh_root(directory / "nix")
    made = Machine.create(directory, nix, "machine", *cache.options)
    materialize_tiny_closure(made.monorepo.root / "app")
    made.monorepo.write("app/BUILD", _BUILD)
    made.pants("package", "app:image")
    return made


def _worker(machine: Machine, machine_nix: Nix, directory: Path, behavior: str) -> Machine:
    """The same clone with an empty store, an empty cache and an empty dist/."""
    shutil.rmtree(machine.monorepo.root / "dist", ignore_errors=True)
    nix = dataclasses.replace(
        machine.monorepo.nix, prefix=machine_nix.with_fresh_root(directory / "nix").prefix
    )
    return dataclasses.replace(
        machine,
        monorepo=dataclasses.replace(machine.monorepo, nix=nix, cache=directory / "cache"),
        options=(*machine.options, f"--cache-content-behavior={behavior}"),
    )


@pytest.mark.parametrize("behavior", (*_SAFE, "defer"))
def test_results_are_found(
    machine: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix, behavior: str
) -> None:
    """Nothing is started with any of them, and the image is the same."""
    expected = machine.dist() or _packaged(machine)
    worker = _worker(machine, machine_nix, tmp_path, behavior)
    run = worker.pants("package", "app:image")
    assert worker.dist() == expected
    assert run.started == ()
    assert run.counters["remote_cache_requests_cached"] == 4


@pytest.mark.parametrize("behavior", _SAFE)
def test_contents_are_lost(
    machine: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix, behavior: str
) -> None:
    """A server that has dropped what a result is made of: the step is done again."""
    expected = machine.dist() or _packaged(machine)
    (image,) = expected.values()
    layer = json.loads(image)["layers"][1]["digest"].encode()
    # What the digest step has written; descriptors are in dist/ and in no remote store.
    blobs = [blob for blob in cache.blobs() if layer in blob and blob.startswith(b"{")]
    assert len(blobs) == 1
    worker = _worker(machine, machine_nix, tmp_path, behavior)
    with cache.losing(*blobs):
        run = worker.pants("package", "app:image")
    assert worker.dist() == expected
    assert {text.split()[0] for text in run.started} == {"Digest", "Find", "Build"}
    assert run.counters["remote_cache_write_successes"] == 1


@pytest.mark.parametrize("behavior", _SAFE)
def test_kept_layers(
    machine: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix, behavior: str
) -> None:
    """Only `fetch` downloads the bytes of layers that are kept, which `package` does not need."""
    machine.monorepo.write("app/BUILD", _BUILD.replace("attr=", "reproducible=False, attr="))
    try:
        expected = _packaged(machine)
        cache.forget_log()
        worker = _worker(machine, machine_nix, tmp_path, behavior)
        run = worker.pants("package", "app:image")
    finally:
        machine.monorepo.write("app/BUILD", _BUILD)
    assert worker.dist() == expected
    assert run.started == ()
    kept = {hashlib.sha256(blob).hexdigest() for blob in cache.blobs() if blob.startswith(b"\x1f\x8b")}
    assert len(kept) == 1
    assert (kept <= set(cache.blobs_read)) == (behavior == "fetch")


def _packaged(machine: Machine) -> dict[str, bytes]:
    machine.pants("package", "app:image")
    return machine.dist()
