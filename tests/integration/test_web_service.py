"""`examples/web`: a PEX file that Pants builds, on a Python out of a Nix store."""

from __future__ import annotations

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
from tests.integration.support.web_example import answer, running_service, write_web_example

_PEX = "/app/api.pex"


@dataclass(frozen=True)
class Example:
    """The example, published, changed in one line of its module, and published again."""

    registry: Registry
    first: Published
    second: Published


def _publish(repository: Monorepo, to: Registry) -> Published:
    return publish(repository, to, "examples/web:image", *pex_options())


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Example]:
    """See `Example`."""
    directory = tmp_path_factory.mktemp("web")
    repository = Monorepo.create(directory, machine_nix)
    sources = write_web_example(repository)
    with registry(directory / "registry") as running:
        first = _publish(repository, running)
        module = sources / "greeting.py"
        text = module.read_text()
        module.write_text(text.replace("Hello", "Welcome"))
        assert module.read_text() != text
        yield Example(running, first, _publish(repository, running))


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[engines.Docker | engines.Podman]:
    """An engine without images."""
    with engines.podman() if request.param == "podman" else engines.dockerd() as running:
        yield running


def test_the_container_answers(
    example: Example, engine: engines.Docker | engines.Podman, tmp_path: Path
) -> None:
    """Both versions, pulled by their digests from the registry; and SIGTERM ends them."""
    for published, expected in ((example.first, "Hello, you!\n"), (example.second, "Welcome, you!\n")):
        if isinstance(engine, engines.Docker):
            # What it says while it does so is not for the standard output of the container.
            engine.run("pull", "--quiet", published.reference)
        with running_service(engine, published.reference, tmp_path / "log") as address:
            assert answer(f"{address}/you") == expected


def test_a_changed_line_is_one_layer(example: Example) -> None:
    """Uploaded are the layer of the PEX file and the config, and a manifest; all else is there."""
    first, second = example.first, example.second
    layers = first.layers
    assert sorted(first.uploaded) == sorted([*layers, first.descriptor["configDigest"]])
    old, new = first.layer(_PEX)["digest"], second.layer(_PEX)["digest"]
    assert old != new
    assert second.layers == [
        new if digest == old else digest for digest in layers
    ]
    assert sorted(second.uploaded) == sorted([new, second.descriptor["configDigest"]])
    assert (first.manifests, second.manifests) == (1, 1)
    # It is the layer of the image that changes, so it is the last.
    assert layers[-1] == old


def test_a_changed_line_is_nothing_to_nix(example: Example) -> None:
    """Evaluation, closure and layers of store paths come from the cache."""
    first, second = example.first.run, example.second.run
    assert first.processes("Evaluate")
    assert second.processes("Evaluate", "Query", "Build examples") == ()
    assert second.processes("Digest") == (f"Digest layer of {_PEX}",)


def test_the_store_has_python_and_no_pex_file(example: Example) -> None:
    """What Pants built is in no store path; layers of store paths have nothing else."""
    recipes = [layer["recipe"] for layer in example.first.descriptor["layers"]]
    paths = [entry["path"] for recipe in recipes for entry in recipe.get("entries", ())]
    assert any("-python-3.11" in path for path in paths)
    assert example.first.descriptor["config"]["config"]["Entrypoint"][1] == _PEX
    files = [file["path"] for recipe in recipes for file in recipe.get("files", ())]
    assert _PEX in files and not any(path.startswith("/nix") for path in files)
