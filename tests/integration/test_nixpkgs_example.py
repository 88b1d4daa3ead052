"""The example with nixpkgs does what the README says, with a stand-in for nixpkgs: it needs no network."""

from __future__ import annotations

import uuid
from typing import Iterator

import pytest

from tests.integration.support import engines
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.nixpkgs_example import example_targets, write_nixpkgs_example

#: The stand-in is no project of its own.
_STAND_IN = 'nix_sources(name="nix", sources=["**/*"])\n'


@pytest.fixture(scope="module")
def monorepo(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monorepo]:
    created = Monorepo.create(tmp_path_factory.mktemp("nixpkgs"), machine_nix)
    write_nixpkgs_example(created, "app")
    with created.with_daemon() as running:
        yield running


def test_from_tailor_to_a_running_container(monorepo: Monorepo) -> None:
    """The stand-in has an owner, Pants writes targets for the flake, and the image runs."""
    # Where it is, `tailor` would make packages of it.
    monorepo.write("BUILD", _STAND_IN.replace("**/*", "app/nixpkgs/**/*"))
    monorepo.pants("--nix-tailor-packages", "tailor", "app")
    path = monorepo.root / "app/BUILD"
    written = path.read_text()
    for name in ("app", "python", "root"):
        assert f'nix_package(\n    source="flake.nix",\n    attr="{name}",' in written or f'name="{name}"' in written
    targets = example_targets(without_packages=True).replace('["!:src"]', "[]")
    assert "nix_package(" not in targets and "nix_image(" in targets
    path.write_text(written + targets.replace("    user=", '    output_format="docker-archive",\n    user='))
    monorepo.pants("package", "app:image")
    result = engines.podman_run(f"docker-archive:{monorepo.root / 'dist/app/image.tar'}")
    assert result.stdout.startswith("Hello from Python 3.11") and "out of nixpkgs" in result.stdout


def test_the_runtime_is_not_made_of_the_application(monorepo: Monorepo) -> None:
    """With the targets of the example a change of the application evaluates, builds and digests it alone."""
    monorepo.write("BUILD", _STAND_IN.replace("**/*", "app/nixpkgs/**/*"))
    monorepo.write("app/BUILD", example_targets(without_packages=False))
    seen = {
        name: monorepo.pants("dependencies", "--transitive", f"app:{name}").stdout.split()
        for name in ("app", "python")
    }
    assert {"app": True, "python": False} == {
        name: any(address.startswith("app/src/app.py:") for address in found) for name, found in seen.items()
    }
    monorepo.pants("package", "app:image")
    path = monorepo.root / "app/src/app.py"
    # A store may have what an earlier run has built.
    path.write_text(path.read_text().replace("Hello", f"Good day {uuid.uuid4().hex}"))
    run = monorepo.pants("package", "app:image")
    assert [step.split(" (")[0] for step in run.processes("Evaluate", "Build")] == ["Evaluate app:app", "Build app:app"]
    digested = {name for step in run.processes("Digest layer of ") for name in step[16:].split(", ")}
    assert "app" in digested and digested <= {"app", "app.py"}
