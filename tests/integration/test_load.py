"""`nixoci load`: real engines take an image from the store, and only the layers that they lack."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Iterator, Union

import pytest

from tests.integration.support import engines
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.registry import Registry
from tests.integration.support.store_images import (
    GREETING,
    StoreImage,
    nixoci,
    nixoci_command,
    nixoci_environment,
    requested_layers,
    write_store_image,
)

Engine = Union[engines.Docker, engines.Podman]


@pytest.fixture(scope="module")
def podman() -> Iterator[engines.Podman]:
    with engines.podman() as running:
        yield running


@pytest.fixture(params=("docker", "podman"))
def engine(request: pytest.FixtureRequest) -> Engine:
    running: Engine = request.getfixturevalue(request.param)
    return running


def load(
    nix: Nix, engine: Engine, image: StoreImage, *options: str, check: bool = True
) -> CompletedProcess[str]:
    words = ("load", "--log-requests", f"--engine={engine.name}", *options, str(image.descriptor))
    environment = nixoci_environment(nix, engine.environment())
    return run(engine.command(*nixoci_command(*words)), env=environment, check=check)


def names_in(engine: Engine) -> set[str]:
    """All names that the engine has for images, as the user gave them."""
    lines = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return {line[len("localhost/") :] if line.startswith("localhost/") else line for line in lines}


def test_only_what_it_lacks(machine_nix: Nix, engine: Engine, tmp_path: Path) -> None:
    """The first load fetches each layer once, the next one asks for nothing, and an image with
    another uppermost layer fetches that one. All names are the descriptor's."""
    word = uuid.uuid4().hex
    data = {"big": word.encode() * 50_000, "old": b"old"}
    names = (f"registry.example/{word}:1.0", f"acme/{word}:latest")
    image = write_store_image(machine_nix, tmp_path / "one", data=data, references=names)
    first = load(machine_nix, engine, image)
    fetched = requested_layers(first.stderr, image)
    # Another test's image may have brought the layer of busybox already.
    assert list(image.layers[1:]) == [each for each in image.layers[1:] if each in fetched]
    assert len(fetched) == len(set(fetched))
    identifier = first.stdout.strip()
    assert image.document["configDigest"].endswith(identifier.rpartition(":")[2])
    assert set(names) <= names_in(engine)
    assert not any("127.0.0.1" in name or "none" in name for name in names_in(engine))

    again = load(machine_nix, engine, image, f"--reference=again/{word}")
    assert ("", first.stdout) == (again.stderr, again.stdout)
    assert {*names, f"again/{word}:latest"} <= names_in(engine)

    changed = {**data, "old": word.encode()}
    other = write_store_image(machine_nix, tmp_path / "two", data=changed, references=names)
    assert [other.layers[-1]] == requested_layers(load(machine_nix, engine, other).stderr, other)


def test_two_loads_at_once(machine_nix: Nix, docker: engines.Docker, tmp_path: Path) -> None:
    """Two loads of one image and one of another do not hurt each other."""
    word = uuid.uuid4().hex
    data = {"big": word.encode() * 50_000}
    images = [
        write_store_image(
            machine_nix, tmp_path / str(number), data={**data, **more}, references=(name,)
        )
        for number, (more, name) in enumerate(
            (({}, f"{word}:0"), ({}, f"{word}:1"), ({"more": b"more"}, f"{word}:2"))
        )
    ]
    with ThreadPoolExecutor() as executor:
        list(executor.map(lambda image: load(machine_nix, docker, image), images))
    assert {f"{word}:0", f"{word}:1", f"{word}:2"} <= names_in(docker)
    assert not any("127.0.0.1" in name for name in names_in(docker))


def test_altered_store_path(machine_nix: Nix, engine: Engine, tmp_path: Path) -> None:
    """The command fails, names the store path, and leaves no name in the engine."""
    word = uuid.uuid4().hex
    content = word.encode() * 100_000
    image = write_store_image(
        machine_nix, tmp_path, data={"altered": content}, references=(f"{word}:1",)
    )
    target = Path(image.paths[1], "data")
    target.chmod(0o644)
    target.write_bytes(b"X" + content[1:])
    before = names_in(engine)
    try:
        result = load(machine_nix, engine, image, check=False)
    finally:
        machine_nix.run("nix-store", "--delete", image.paths[1])
    assert 1 == result.returncode
    last = result.stderr.splitlines()[-1]
    assert last.startswith("nixoci: Layer ") and image.paths[1] in last
    assert before == names_in(engine)


def test_missing_store_path(machine_nix: Nix, docker: engines.Docker, tmp_path: Path) -> None:
    """A path that the store lacks has the exit status by which callers know that they can fix it.
    """
    image = write_store_image(machine_nix, tmp_path, data={"gone": uuid.uuid4().bytes})
    machine_nix.run("nix-store", "--delete", image.paths[1])
    result = load(machine_nix, docker, image, check=False)
    assert 75 == result.returncode
    assert image.paths[1] in result.stderr.splitlines()[-1]


def test_layers_that_a_registry_has(
    machine_nix: Nix, engine: Engine, plain_registry: Registry, tmp_path: Path
) -> None:
    """A machine whose store has nothing takes them from there, and runs the image."""
    word = uuid.uuid4().hex
    data = {"big": word.encode() * 50_000}
    image = write_store_image(machine_nix, tmp_path / "image", data=data, references=(f"acme/{word}:1",))
    repository = f"{plain_registry.host}/staging/api"
    nixoci(machine_nix, "push", image.descriptor, f"{repository}:1")
    empty = machine_nix.chroot_store(tmp_path / "empty")
    missing = load(empty, engine, image, check=False)
    assert missing.returncode == 75 and "--copy-from" in missing.stderr
    load(empty, engine, image, f"--copy-from={repository}")
    assert engine.run("run", "--rm", f"acme/{word}:1").stdout == f"{GREETING}\n"


def test_engine_that_does_not_reach_us(machine_nix: Nix, tmp_path: Path) -> None:
    """A daemon with another loopback interface gets the image on its standard input."""
    image = write_store_image(machine_nix, tmp_path, data={"big": b"big" * 500_000})
    with engines.dockerd(own_loopback=True) as docker:
        result = load(machine_nix, docker, image)
        assert [] == requested_layers(result.stderr, image)
        assert {"acme/api:latest", "registry.example/acme/api:1.0"} == names_in(docker)
        image_facts = docker.run("image", "inspect", "--format", "{{.Id}}", "acme/api").stdout
        assert image.document["configDigest"] == image_facts.strip() == result.stdout.strip()


def test_podman_takes_the_stream_too(
    machine_nix: Nix, podman: engines.Podman, tmp_path: Path
) -> None:
    """What docker gets on its standard input, podman reads to the same image."""
    word = uuid.uuid4().hex
    name = f"{word}:1"
    image = write_store_image(machine_nix, tmp_path, data={"w": word.encode()}, references=(name,))
    environment = nixoci_environment(machine_nix, podman.environment())
    # A podman on this machine reaches its loopback interface always, so it is led elsewhere.
    wrapper = tmp_path / "programs" / "podman"
    wrapper.parent.mkdir()
    real = engines.tool("podman")
    wrapper.write_text(
        f'#!/bin/sh\ncase "$1" in pull) exec unshare --net {real} "$@";; esac\nexec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    environment["PATH"] = f"{wrapper.parent}:{environment['PATH']}"
    command = podman.command(*nixoci_command("load", "--engine=podman", image.descriptor))
    identifier = run(command, env=environment).stdout.strip()
    assert f"sha256:{identifier}" == image.document["configDigest"]
    assert name in names_in(podman)


def test_no_engine(machine_nix: Nix, tmp_path: Path) -> None:
    """What is not installed, and what does not answer, is named."""
    image = write_store_image(machine_nix, tmp_path / "image", data={})
    environment = nixoci_environment(machine_nix)
    environment["DOCKER_HOST"] = f"unix://{tmp_path}/none.sock"
    command = nixoci_command("load", image.descriptor)
    absent = run(command, env={**environment, "PATH": "/nowhere"}, check=False)
    assert 1 == absent.returncode
    assert "looked for podman and docker in /nowhere" in absent.stderr
    silent = run([*command, "--engine=docker"], env=environment, check=False)
    assert 1 == silent.returncode
    assert "No container engine answers" in silent.stderr and "none.sock" in silent.stderr
