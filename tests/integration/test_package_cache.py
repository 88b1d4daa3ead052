"""Cache precision: a change re-does what it touches and nothing else, by Pants' own counters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

_BUILD = """\
nix_package(name="a", source="tiny.nix", attr="a")
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_image(
    name="{image}",
    packages=[":a", ":greeting"],
    layering="popularity",
    entrypoint=["{{a}}", "{word}"],
)
"""


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Monorepo:
    """A monorepo with one image, packaged once. Tests change it, each from what `_write` writes."""
    repository = Monorepo.create(tmp_path_factory.mktemp("cache"), machine_nix)
    _write(repository)
    first = repository.pants("package", "app:image")
    assert len(first.processes("Digest")) == 4
    (repository.root / "dist/app/image.image.json").rename(repository.root / "before.json")
    return repository


def _before(repository: Monorepo) -> dict[str, Any]:
    return json.loads((repository.root / "before.json").read_text())


def _write(
    repository: Monorepo, *, image: str = "image", entrypoint: str = "one", word: str = "hello"
) -> None:
    materialize_tiny_closure(repository.root / "app", word)
    repository.write("app/BUILD", _BUILD.format(image=image, word=entrypoint))


def test_second_package_runs_no_process(monorepo: Monorepo) -> None:
    """Packaging again takes every result from the cache."""
    _write(monorepo)
    again = monorepo.pants("package", "app:image")
    assert monorepo.descriptor("app/image.image.json") == _before(monorepo)
    assert again.started == ()
    assert "local_execution_requests" not in again.counters
    assert again.counters["local_cache_requests"] == again.counters["local_cache_requests_cached"]


def test_changed_entrypoint_runs_no_process(monorepo: Monorepo) -> None:
    """A config change makes another image; nothing is evaluated, queried or digested."""
    before = _before(monorepo)
    _write(monorepo, entrypoint="two")
    run = monorepo.pants("package", "app:image")
    after = monorepo.descriptor("app/image.image.json")
    assert after["digest"] != before["digest"]
    assert after["config"]["config"]["Entrypoint"][1] == "two"
    assert [layer["digest"] for layer in after["layers"]] == [
        layer["digest"] for layer in before["layers"]
    ]
    assert run.started == ()
    assert "local_execution_requests" not in run.counters


def test_changed_package_digests_its_own_layers_only(monorepo: Monorepo) -> None:
    """Of four layers the one with the changed package is digested again."""
    before = _before(monorepo)
    _write(monorepo, word="goodbye")
    run = monorepo.pants("package", "app:image")
    after = monorepo.descriptor("app/image.image.json")
    digests = {layer["digest"] for layer in before["layers"]}
    changed = [layer["recipe"]["entries"] for layer in after["layers"] if layer["digest"] not in digests]
    assert [[entry["path"][44:] for entry in entries] for entries in changed] == [["greeting"]]
    assert run.processes("Digest") == ("Digest layer of greeting",)
    assert f"Digest {after['digest']}, 4 layers of 0.0 MB, new: 1 layer of 0.0 MB" in run.stderr
    # `tiny.nix` changed, so both packages are evaluated; `a` comes to the same store path.
    assert not run.processes("Query closure of app:a")


def test_renamed_target_runs_no_process(monorepo: Monorepo) -> None:
    """The name of a target is in no key, and in no byte of the image."""
    _write(monorepo, image="renamed")
    run = monorepo.pants("package", "app:renamed")
    assert monorepo.descriptor("app/renamed.image.json") == {
        **_before(monorepo),
        "references": ["renamed:latest"],
    }
    assert run.started == ()
    assert "local_execution_requests" not in run.counters


def test_an_empty_store_is_no_reason_to_build(
    monorepo: Monorepo, machine_nix: Nix, tmp_path: Path
) -> None:
    """With a warm cache and an empty store nothing is realised, and the result is the same."""
    _write(monorepo)
    store = tmp_path / "empty"
    other = dataclasses.replace(monorepo, nix=machine_nix.chroot_store(store))
    run = other.pants("package", "app:image")
    assert run.started == ()
    assert monorepo.descriptor("app/image.image.json") == _before(monorepo)
    assert not store.exists()


def test_paths_that_were_collected_are_realised_again(
    tmp_path: Path, machine_nix: Nix
) -> None:
    """A warm evaluation and closure with a cold digest builds what the digest has to read."""
    nix = machine_nix.with_fresh_root(tmp_path / "nix")
    repository = Monorepo.create(tmp_path, nix)
    _write(repository)
    repository.pants("package", "app:image")
    first = repository.descriptor("app/image.image.json")
    nix.run("nix-collect-garbage")
    build = (repository.root / "app/BUILD").read_text()
    repository.write("app/BUILD", build.replace("entrypoint=", "max_layers=1, entrypoint="))
    run = repository.pants("package", "app:image")
    assert len(run.processes("Build")) == 2
    assert len(run.processes("Query")) == 0
    second = repository.descriptor("app/image.image.json")
    assert len(first["layers"]) == 4
    assert len(second["layers"]) == 1
