"""`examples/service`: a PEX with wheels, laid out in layers, on a Python out of a Nix store."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support import engines
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.pex import pex_options
from tests.integration.support.published import Published, publish
from tests.integration.support.registry import Registry, registry
from tests.integration.support.web_example import answer, running_service, write_service_example
from tests.integration.support.wheels import repacked_wheel, service_wheels, wheel_options

_SITE = "/app/lib/python3.11/site-packages"


@dataclass(frozen=True)
class Example:
    """The example published; with a changed line; and with another version of a requirement besides."""

    first: Published
    line: Published
    requirement: Published


def _publish(repository: Monorepo, to: Registry, *wheels: Path) -> Published:
    return publish(
        repository,
        to,
        "examples/service:image",
        *pex_options(),
        *wheel_options(*wheels),
        "--python-enable-resolves",
        "--python-default-resolve=service",
        "--python-resolves={'service': 'examples/service/requirements.lock'}",
        "--python-resolves-generate-lockfiles=False",
    )


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Example]:
    """See `Example`."""
    directory = tmp_path_factory.mktemp("service")
    made = Monorepo.create(directory, machine_nix)
    sources = write_service_example(made)
    wheels = service_wheels()
    with registry(directory / "registry") as running, made.with_daemon() as repository:
        first = _publish(repository, running, wheels)
        _replace(sources / "words.py", "The sum", "Sum")
        # Without pantsd: the cache has to know what is not done again.
        line = _publish(dataclasses.replace(repository, daemon=False), running, wheels)
        (wheel,) = wheels.glob("itsdangerous-2.2.0-*.whl")
        other = repacked_wheel(wheel, directory / "wheels", "2.2.0", "2.2.0.post1")
        lock = sources / "requirements.lock"
        digest = hashlib.sha256(other.read_bytes()).hexdigest()
        _replace(lock, "itsdangerous==2.2.0 ", f"itsdangerous==2.2.0.post1 --hash=sha256:{digest} ")
        yield Example(first, line, _publish(repository, running, wheels, other.parent))


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[engines.Docker | engines.Podman]:
    """An engine without images."""
    with engines.podman() if request.param == "podman" else engines.dockerd() as running:
        yield running


def test_the_container_answers(
    example: Example, engine: engines.Docker | engines.Podman, tmp_path: Path
) -> None:
    """All versions, pulled by their digests; numpy computes, with its library of C++."""
    for published, word in (
        (example.first, "The sum"),
        (example.line, "Sum"),
        (example.requirement, "Sum"),
    ):
        if isinstance(engine, engines.Docker):
            # What it says while it does so is not for the standard output of the container.
            engine.run("pull", "--quiet", published.reference)
        with running_service(engine, published.reference, tmp_path / "log") as address:
            assert answer(f"{address}/4") == f"{word} of 0 to 4 is 10.\n"


def test_a_changed_line_is_one_small_layer(example: Example) -> None:
    """Uploaded are the layer of the sources and the config; requirements are not even looked at."""
    sources = example.line.layer(f"{_SITE}/examples/service/words.py")
    assert example.line.new_layers == {sources["digest"]}
    assert sources["size"] < 100_000
    words = ("Resolve", "Building", "Lay out", "List", "Evaluate", "Query", "Build examples", "Look at")
    assert example.first.run.processes("Resolve", "Lay out", "List", "Evaluate", "Look at")
    assert example.line.run.processes(*words) == ()
    assert len(example.line.run.processes("Compile modules")) == 1
    assert len(example.line.run.processes("Digest")) == 1


def test_a_changed_requirement_is_one_layer(example: Example) -> None:
    """That of the smaller requirements: neither store paths nor numpy nor the sources."""
    place = f"{_SITE}/itsdangerous/__init__.py"
    requirements = example.requirement.layer(place)
    assert example.requirement.new_layers == {requirements["digest"]}
    assert requirements["digest"] != example.first.layer(place)["digest"]
    numpy = f"{_SITE}/numpy/__init__.py"
    assert example.requirement.layer(numpy)["digest"] == example.first.layer(numpy)["digest"]
    assert numpy not in {file["path"] for file in requirements["recipe"]["files"]}


def test_layers_from_below(example: Example) -> None:
    """What changes more often is above: store paths, numpy, other requirements, sources."""
    files = [
        f"{_SITE}/numpy/__init__.py",
        f"{_SITE}/flask/__init__.py",
        f"{_SITE}/examples/service/main.py",
    ]
    assert example.first.layers[-3:] == [example.first.layer(path)["digest"] for path in files]


def test_no_trace_of_the_machine(example: Example) -> None:
    """Neither other bytecode than that of this Python, nor where a wheel was."""
    layers = example.first.descriptor["layers"]
    paths = {file["path"] for layer in layers for file in layer["recipe"].get("files", ())}
    bytecode = {path for path in paths if path.endswith(".pyc")}
    assert f"{_SITE}/flask/__pycache__/app.cpython-311.pyc" in bytecode
    assert all(".cpython-311." in path for path in bytecode)
    assert not any(path.endswith("direct_url.json") for path in paths)
