"""Cache precision of images with a Nix database, by Pants' own counters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

_BUILD = """\
nix_package(name="a", source="tiny.nix", attr="a")
nix_package(name="b", source="tiny.nix", attr="b")
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_package(name="config", source="config.nix", dependencies=[":tiny"])
nix_source(name="tiny", source="tiny.nix")
nix_image(name="image", nix_database=True, {fields})
"""

_CONFIG = """\
let inherit (import ./tiny.nix) c; in derivation {
  name = "config";
  system = "x86_64-linux";
  builder = "/bin/sh";
  inherit c;
  args = [ "-e" "-c" ''echo "{\\"Env\\": [\\"C=$c\\"], \\"Cmd\\": [\\"WORD\\"]}" > $out'' ];
}
"""

_FIELDS = (
    'layering="popularity", packages=[":a", ":greeting"], '
    'config=":config", labels={"a": "1"}, entrypoint=["x"]'
)
_DATABASE = "Digest layer of the Nix database of 4 store paths"


def _write(
    repository: Monorepo, fields: str = _FIELDS, *, word: str = "hello", command: str = "one"
) -> None:
    materialize_tiny_closure(repository.root / "app", word)
    repository.write("app/config.nix", _CONFIG.replace("WORD", command))
    repository.write("app/BUILD", _BUILD.format(fields=fields))


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Monorepo:
    """A monorepo with one image, packaged once, and a store of its own."""
    directory = tmp_path_factory.mktemp("database-cache")
    nix = machine_nix.with_fresh_root(directory / "nix")
    # Processes of Nix 2.8 that start side by side without a database are in each other's way.
    nix.run("nix-store", "--init")
    repository = Monorepo.create(directory, nix)
    _write(repository)
    first = repository.pants("package", "app:image")
    assert len(first.processes("Digest")) == 5
    assert first.processes(_DATABASE) == (_DATABASE,)
    return repository


@pytest.fixture(scope="module")
def before(monorepo: Monorepo) -> dict[str, Any]:
    """The descriptor of what every test changes."""
    return monorepo.descriptor("app/image.image.json")


def _layers(descriptor: dict[str, Any]) -> list[str]:
    return [layer["digest"] for layer in descriptor["layers"]]


@pytest.mark.parametrize(
    "old,new",
    [
        ('entrypoint=["x"]', 'entrypoint=["{a}", "y"]'),
        ('labels={"a": "1"}', 'labels={"a": "2"}'),
        ('entrypoint=["x"]', 'entrypoint=["x"], image_tags=["next"]'),
    ],
    ids=["entrypoint", "label", "tag"],
)
def test_what_is_no_store_path_runs_no_process(
    monorepo: Monorepo, before: dict[str, Any], old: str, new: str
) -> None:
    """Neither registrations nor database are made again; nothing at all is."""
    _write(monorepo, _FIELDS.replace(old, new))
    run = monorepo.pants("package", "app:image")
    after = monorepo.descriptor("app/image.image.json")
    assert after != before
    assert _layers(after) == _layers(before)
    assert run.started == ()
    assert "local_execution_requests" not in run.counters


def test_another_config_made_by_nix_digests_nothing(
    monorepo: Monorepo, before: dict[str, Any]
) -> None:
    """It is another store path, and none of the image: the database does not list it."""
    _write(monorepo, command="two")
    run = monorepo.pants("package", "app:image")
    after = monorepo.descriptor("app/image.image.json")
    assert after["config"]["config"]["Cmd"] == ["two"]
    assert _layers(after) == _layers(before)
    assert run.processes("Read the image config")
    assert run.processes("Digest") == ()


def test_a_changed_package_digests_its_layer_and_the_database(
    monorepo: Monorepo, before: dict[str, Any]
) -> None:
    """And no other layer."""
    _write(monorepo, word="goodbye")
    run = monorepo.pants("package", "app:image")
    after = monorepo.descriptor("app/image.image.json")
    assert sorted(run.processes("Digest")) == ["Digest layer of greeting", _DATABASE]
    assert len(set(_layers(after)) - set(_layers(before))) == 2
    assert _layers(after)[-1] != _layers(before)[-1]


def test_signatures_change_nothing_unless_they_are_asked_for(
    monorepo: Monorepo, before: dict[str, Any], tmp_path: Path
) -> None:
    """Whether a path was fetched or built shows in its signatures, and in no byte of the image."""
    nix = monorepo.nix
    keys = tmp_path / "secret", tmp_path / "public"
    nix.run("nix-store", "--generate-binary-cache-key", "test-1", *keys)
    path = before["layers"][0]["recipe"]["entries"][0]["path"]
    nix.run("nix", "store", "sign", "--key-file", keys[0], path)

    # `b` is in the closure of `a`: to ask for it finds the same paths again, now with signatures.
    fields = _FIELDS.replace('packages=[":a"', 'packages=[":a", ":b"')
    _write(monorepo, fields)
    run = monorepo.pants("package", "app:image")
    assert run.processes("Evaluate app:b")
    assert run.processes("Digest") == ()
    assert _layers(monorepo.descriptor("app/image.image.json")) == _layers(before)

    _write(monorepo, f"{fields}, nix_database_signatures=True")
    run = monorepo.pants("package", "app:image")
    after = monorepo.descriptor("app/image.image.json")
    assert run.processes("Digest") == (_DATABASE,)
    assert _layers(after)[:-1] == _layers(before)[:-1]
    registrations = after["layers"][-1]["recipe"]["registrations"]
    signed = {name for name, facts in registrations.items() if facts.get("signatures")}
    assert signed == {path}
    assert registrations[path]["signatures"][0].startswith("test-1:")


def test_what_was_packaged_first_runs_no_process(
    monorepo: Monorepo, before: dict[str, Any]
) -> None:
    """After all these changes, nothing of it has to be done again."""
    _write(monorepo)
    assert monorepo.pants("package", "app:image").started == ()
    assert monorepo.descriptor("app/image.image.json") == before
