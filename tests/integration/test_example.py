"""The example of the README does what the README says."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.integration.support import engines
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"


def test_hello_says_hello(tmp_path: Path, machine_nix: Nix) -> None:
    """Both targets are one image, and podman runs it."""
    repository = Monorepo.create(tmp_path, machine_nix)
    shutil.copytree(EXAMPLE, repository.root / "hello")
    repository.pants("package", "hello::")
    image, archive = (repository.descriptor(f"hello/{n}.image.json") for n in ("image", "archive"))
    assert image == archive
    file = repository.root / "dist/hello/archive.tar"
    result = engines.podman_run(f"docker-archive:{file}")
    assert result.stdout == "Hello from a Nix store path, without a layer archive.\n"
