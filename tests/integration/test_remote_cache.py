"""A remote cache: what one machine made, no other one makes, builds or downloads.

The machines have a BuildGrid between them, and nothing else: no store, cache, path or version that
they could have in common.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Iterator
from urllib.request import Request, urlopen

import pytest

from tests.integration.support.closures import (
    materialize_synthetic_closure,
    materialize_tiny_closure,
)
from tests.integration.support.debian_monorepo import write_debian_images
from tests.integration.support.interpreters import interpreter
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.nix_in_image import write_nix_in_image
from tests.integration.support.registry import Registry, registry
from tests.integration.support.remote_cache import RemoteCache, cache_options, remote_cache

_HELLO = Path(__file__).parents[2] / "examples" / "hello"

_TINY = """\
nix_package(name="a", source="tiny.nix", attr="a")
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_package(name="several", source="tiny.nix", attr="several", outputs=["dev", "out"])
nix_layer(name="layer", packages=[":a"], max_layers=2, layering="popularity")
nix_image(
    name="image",
    layers=[":layer"],
    packages=[":greeting"],
    layering="popularity",
    nix_database=True,
    repository="acme/tiny",
)
nix_image(name="several-outputs", packages=[":several"], max_layers=1)
nix_package(name="kept", source="tiny.nix", attr="greeting", reproducible=False)
nix_image(
    name="compressed",
    layers=[":layer"],
    packages=[":kept"],
    nix_database=True,
    compression="zstd",
    compression_level=7,
)
"""

_TINY_IMAGES = ("tiny:image", "tiny:several-outputs")
_IMAGES = (*_TINY_IMAGES, "tiny:compressed", "hello:image", "app:descriptor", "nix-in-image::")

_BIG = """\
nix_sources(name="nix", sources=["*.nix", "generate.py"])
nix_package(
    name="synth",
    source="default.nix",
    attr="synth",
    outputs=["out", *(f"p{number}" for number in range(1, 20))],
    dependencies=[":nix"],
)
nix_image(name="image", packages=[":synth"], max_layers=20)
"""


def _write_tiny(machine: Machine) -> None:
    materialize_tiny_closure(machine.monorepo.root / "tiny")
    machine.monorepo.write("tiny/BUILD", _TINY)


def _write(machine: Machine) -> None:
    _write_tiny(machine)
    shutil.copytree(_HELLO, machine.monorepo.root / "hello")
    write_debian_images(machine.monorepo)
    # Only descriptors can be made without the store: an archive has the bytes in it.
    targets = write_nix_in_image(machine.monorepo) / "BUILD"
    targets.write_text(targets.read_text().replace('"oci-layout"', '"descriptor"'))


def _assert_no_errors(run: PantsRun) -> None:
    """Trouble with a remote cache is a warning to Pants, and a slow build."""
    assert [name for name in run.counters if name.endswith("_errors")] == []


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteCache]:
    with remote_cache(tmp_path_factory.mktemp("remote-cache")) as running:
        yield running


@pytest.fixture(scope="module")
def machine_a(
    tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix, cache: RemoteCache
) -> Machine:
    """The machine that has packaged everything, with a store that has everything."""
    machine = Machine.create(tmp_path_factory.mktemp("a"), machine_nix, "a", *cache.options)
    _write(machine)
    run = machine.pants("package", *_IMAGES)
    _assert_no_errors(run)
    assert run.counters["remote_cache_write_successes"] == len(cache.written)
    assert len(run.processes("Digest")) > 15
    return machine


def _other_machine(directory: Path, nix: Nix, *options: str) -> Machine:
    """A machine on which nothing is as on the first one."""
    python = interpreter("3.13")
    programs = directory / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(python)
    return Machine.create(
        directory / "other place" / "ü",
        nix,
        "clone",
        f"--nix-search-path=['{programs}', '<PATH>']",
        *options,
        umask="077",
        environment={
            "PATH": ":".join(reversed(os.environ["PATH"].split(":"))),
            "LC_ALL": "C",
            "LANG": "de_DE.UTF-8",
            "USER": "somebody",
            "TMPDIR": str(programs),
        },
    )


def test_nothing_is_done_twice(
    machine_a: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix
) -> None:
    """Another machine with an empty store takes every result from the cache, and starts nothing."""
    store = tmp_path / "store"
    machine = _other_machine(tmp_path, machine_nix.chroot_store(store), *cache.options)
    _write(machine)
    written = set(cache.written)
    run = machine.pants("package", *_IMAGES)
    assert machine.dist() == machine_a.dist()
    assert len(machine.dist()) == 7
    layers = machine.monorepo.descriptor("tiny/compressed.image.json")["layers"]
    assert {layer["mediaType"].rpartition(".")[2] for layer in layers} == {"tar+zstd"}
    _assert_no_errors(run)
    assert run.started == ()
    assert "local_execution_requests" not in run.counters
    assert run.counters["remote_cache_requests_cached"] == len(written)
    assert run.counters["remote_cache_requests"] == len(written)
    assert set(cache.read) == written
    assert set(cache.written) == written
    assert not store.exists()
    # Neither Nix nor Python were looked for.
    assert list(machine.monorepo.cache.glob("named/nixoci_*/*")) == []


@pytest.mark.parametrize("control", ("no cache", "dead server", "wrong instance"))
def test_without_the_cache_the_work_is_done_here(
    machine_a: Machine, cache: RemoteCache, tmp_path: Path, machine_nix: Nix, control: str
) -> None:
    """What the test above sees is the cache's doing; and a broken one is no broken build."""
    options = {
        "no cache": (),
        # Port 1 of this machine is nobody's.
        "dead server": cache_options("grpc://127.0.0.1:1"),
        "wrong instance": cache_options(cache.address, "other"),
    }[control]
    nix = machine_nix.with_fresh_root(tmp_path / "nix")
    machine = _other_machine(tmp_path, nix, *options)
    _write_tiny(machine)
    run = machine.pants("package", *_TINY_IMAGES)
    expected = machine_a.dist()
    names = [name for name in expected if name.startswith("tiny/") and "compressed" not in name]
    assert machine.dist() == {name: expected[name] for name in names}
    assert len(run.processes("Build")) == 3
    assert len(run.processes("Digest")) == 5
    assert "remote_cache_requests_cached" not in run.counters
    assert ("remote_cache_read_errors" in run.counters) == (control != "no cache")
    (link,) = machine.monorepo.cache.glob("named/nixoci_*/python3")
    assert link.resolve().name == "python3.13"


def _publish(machine: Machine, to: Registry, label: str) -> PantsRun:
    fields = f'nix_database=True, labels={{"label": "{label}"}}'
    machine.monorepo.write("tiny/BUILD", _TINY.replace("nix_database=True", fields))
    registries = {"test": {"address": to.host, "default": True}}
    return machine.pants(f"--nix-images-registries={registries}", "package", "publish", "tiny:image")


def _uploads(of: Registry) -> int:
    return len([r for r in of.requests("PUT", "/blobs/uploads/") if r.status == 201])


def test_publish_realises_what_the_registry_lacks(
    cache: RemoteCache, tmp_path: Path, machine_nix: Nix
) -> None:
    """All layers are there: nothing is built, the config is sent. One is gone: it alone is made."""
    with registry(tmp_path / "registry") as running:
        first = Machine.create(tmp_path, machine_nix, "first", *cache.options)
        _write_tiny(first)
        _publish(first, running, "one")
        layers = first.monorepo.descriptor("tiny/image.image.json")["layers"]
        assert _uploads(running) == len(layers) + 1

        store = tmp_path / "nix"
        nix = machine_nix.with_fresh_root(store)
        worker = _other_machine(tmp_path, nix, *cache.options)
        _write_tiny(worker)
        run = _publish(worker, running, "two")
        _assert_no_errors(run)
        assert _uploads(running) == len(layers) + 2
        assert list((store / "store").glob("*-*")) == []

        (layer,) = [layer for layer in layers if "-greeting" in str(layer["recipe"].get("entries"))]
        blob = f"http://{running.host}/v2/acme/tiny/blobs/{layer['digest']}"
        with urlopen(Request(blob, method="DELETE"), timeout=10) as answer:
            assert answer.status == 202
        _publish(worker, running, "three")
        assert _uploads(running) == len(layers) + 4
        realised = {path.name[33:] for path in (store / "store").glob("*-*")}
        # Nix evaluates through a flake, which it copies to the store: see `nixoci.store.evaluate`.
        assert {name for name in realised if "." not in name} == {"greeting", "c", "source"}
        with urlopen(blob, timeout=10) as answer:
            digest = hashlib.sha256(answer.read()).hexdigest()
        assert layer["digest"] == f"sha256:{digest}"


def test_no_layer_is_in_the_cache(cache: RemoteCache, tmp_path: Path, machine_nix: Nix) -> None:
    """An image of half a gigabyte takes less than 2 MB of the remote cache, and of the local one."""
    nix = machine_nix.with_fresh_root(tmp_path / "nix")
    machine = Machine.create(tmp_path, nix, "machine", *cache.options)
    root = machine.monorepo.root / "app"
    materialize_synthetic_closure(root, outputs=20, files=1000, size=500_000_000)
    machine.monorepo.write("app/BUILD", _BIG)
    before = cache.size
    run = machine.pants("package", "app:image")
    _assert_no_errors(run)
    descriptor = machine.monorepo.descriptor("app/image.image.json")
    assert sum(layer["size"] for layer in descriptor["layers"]) > 500_000_000
    assert run.counters["remote_cache_write_successes"] > 10
    assert 0 < cache.size - before < 2_000_000
    # Of a database of LMDB only what was written takes space. The core is unpacked there besides, and compiled.
    files = [
        path
        for path in machine.monorepo.cache.rglob("*")
        if path.is_file() and "programs" not in path.parts
    ]
    assert 0 < sum(path.stat().st_blocks * 512 for path in files) < 10_000_000
