"""Contents of files and a remote cache: what is fetched, and when. Each machine has an empty store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.machines import Machine
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry, registry
from tests.integration.support.remote_cache import RemoteCache, remote_cache

#: Bytes of each file that is built; a blob of this size is read by itself.
_SIZE = 3_000_000

#: Pants starts its own processes while it waits for a remote cache; what is found first counts.
_SECONDS = 8

_BUILD = """\
shell_command(
    name="one",
    command="sleep {seconds}; yes one | head -c {size} > one.bin",
    tools=["head", "sleep", "yes"],
    output_files=["one.bin"],
    workdir="/",
)
shell_command(
    name="two",
    command="sleep {seconds}; yes two | head -c {size} > two.bin",
    tools=["head", "sleep", "yes"],
    output_files=["two.bin"],
    workdir="/",
)
nix_image(
    name="first",
    contents={{":one": "/data/one"}},
    repository="acme/data",
    image_tags=["first"],
    registries=["{registry}"],
)
nix_image(
    name="image",
    contents={{":one": "/data/one", ":two": "/data/two"}},
    directories=[{{"path": "/tmp", "mode": "1777"}}],
    repository="acme/data",
    registries=["{registry}"],
)
"""


def content(word: str) -> bytes:
    return (f"{word}\n" * _SIZE)[:_SIZE].encode()


def digest(word: str) -> str:
    return hashlib.sha256(content(word)).hexdigest()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteCache]:
    with remote_cache(tmp_path_factory.mktemp("remote-cache")) as running:
        yield running


@pytest.fixture(scope="module")
def shipped_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def clone(directory: Path, nix: Nix, name: str, cache: RemoteCache, target: Registry) -> Machine:
    machine = Machine.create(
        directory,
        nix.with_fresh_root(directory / f"{name}-nix"),
        name,
        *cache.options,
        "--backend-packages=['pants.backend.shell', 'pants_backend_nix']",
        # The default downloads all that a cached result names, needed or not.
        "--cache-content-behavior=validate",
    )
    machine.monorepo.write("app/BUILD", _BUILD.format(registry=target.host, size=_SIZE, seconds=_SECONDS))
    return machine


@pytest.fixture(scope="module")
def first(
    tmp_path_factory: pytest.TempPathFactory,
    machine_nix: Nix,
    cache: RemoteCache,
    shipped_to: Registry,
) -> Machine:
    """A machine that has packaged both images, and published the first one."""
    directory = tmp_path_factory.mktemp("first")
    machine = clone(directory, machine_nix, "first", cache, shipped_to)
    machine.pants("package", "app:image", "app:first")
    machine.pants("publish", "app:first")
    return machine


@pytest.fixture(scope="module")
def second(
    tmp_path_factory: pytest.TempPathFactory,
    machine_nix: Nix,
    cache: RemoteCache,
    shipped_to: Registry,
    first: Machine,
) -> Machine:
    """A machine that has nothing but the remote cache."""
    directory = tmp_path_factory.mktemp("second")
    return clone(directory, machine_nix, "second", cache, shipped_to)


def test_package_fetches_no_content(first: Machine, second: Machine, cache: RemoteCache) -> None:
    """The same descriptor, no step runs, and no byte of a file is downloaded."""
    cache.forget_log()
    run = second.pants("package", "app:image")
    name = "app/image.image.json"
    assert second.dist()[name] == first.dist()[name]
    # Pants looks for tools on each machine, and starts commands that it then cancels.
    of_pants = ("Searching", "Find", "Running the `shell_command`")
    assert [text for text in run.started if not text.startswith(of_pants)] == []
    assert not {digest("one"), digest("two")} & set(cache.blobs_read)


def test_publish_fetches_what_the_registry_lacks(
    first: Machine, second: Machine, cache: RemoteCache, shipped_to: Registry
) -> None:
    """The registry has one layer of files; of the other one the contents are downloaded, and sent."""
    cache.forget_log()
    before = len(shipped_to.requests("PUT", "/blobs/uploads/"))
    run = second.pants("publish", "app:image")
    assert {digest("one"), digest("two")} & set(cache.blobs_read) == {digest("two")}
    # The layer of directories, that of the second file, and the config.
    assert len(shipped_to.requests("PUT", "/blobs/uploads/")) - before == 3
    assert [text for text in run.started if text.startswith("Digest")] == []


def test_publish_again_fetches_nothing(
    first: Machine, cache: RemoteCache, shipped_to: Registry, machine_nix: Nix, tmp_path: Path
) -> None:
    """A third machine, after the image is published: nothing is downloaded or sent."""
    third = clone(tmp_path, machine_nix, "third", cache, shipped_to)
    cache.forget_log()
    before = len(shipped_to.requests("PUT"))
    third.pants("publish", "app:image")
    assert not {digest("one"), digest("two")} & set(cache.blobs_read)
    assert len(shipped_to.requests("PUT")) == before
