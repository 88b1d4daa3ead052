"""`pants nix-layers` for an image of 257 store paths: what it says is what packages and pushes are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.package_graph import materialize_package_graph
from tests.integration.support.registry import Registry

_BUILD = """\
nix_sources(name="nix", sources=["*.nix", "*.json"])
nix_package(name="app", source="default.nix", attr="app", dependencies=[":nix"])
nix_package(name="media", source="default.nix", attr="media", dependencies=[":nix"])
nix_layer(name="runtime", packages=[":media"], max_layers=12)
nix_image(
    name="image",
    layers=[":runtime"],
    packages=[":app"],
    max_layers=12,
    nix_database=True,
    repository="acme/image",
)
nix_image(name="other", packages=[":media"], max_layers=3)
"""

#: A library that much depends on, and one that gets a new version.
_REBUILT = "libssl3-3.0.20-1-deb12u2"
_UPDATED = ("libflite1-2.2-5", "libflite1-2.2-6")


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    """A monorepo whose image is packaged; its descriptor is kept in `old.image.json`. It has pantsd."""
    repository = Monorepo.create(tmp_path_factory.mktemp("layers"), machine_nix)
    materialize_package_graph(repository.root / "app")
    repository.write("app/BUILD", _BUILD)
    with repository.with_daemon() as running:
        running.pants("package", "app:image")
        shutil.copyfile(
            repository.root / "dist/app/image.image.json", repository.root / "old.image.json"
        )
        yield running


def layers(repository: Monorepo, *arguments: str) -> list[dict[str, Any]]:
    """Returns the images that `--output=json` tells of."""
    run = repository.pants("nix-layers", "--output=json", *arguments)
    document = json.loads(run.stdout)
    assert document["schemaVersion"] == 1
    return document["images"]


def test_the_table_has_all_layers(monorepo: Monorepo) -> None:
    """Sizes, numbers of paths and words, a line each; nothing is run that `package` ran, of which the
    cache knows and not only pantsd."""
    run = monorepo.pants("nix-layers", "app:image", daemon=False)
    descriptor = monorepo.descriptor("app/image.image.json")
    lines = run.stdout.splitlines()
    assert lines[0] == f"app:image  {descriptor['digest']}"
    rows = [re.split(" {2,}", line.strip()) for line in lines[3 : 3 + len(descriptor["layers"])]]
    assert [row[0] for row in rows] == [str(n + 1) for n in range(len(descriptor["layers"]))]
    counts = [len(layer["recipe"].get("entries", ())) for layer in descriptor["layers"]]
    assert [row[2] for row in rows] == [str(count) if count else "-" for count in counts]
    assert sum(counts) == 257
    assert rows[0][6].startswith("the layer target app:runtime: ")
    assert rows[-1][6] == "the Nix database of 257 store paths"
    assert re.search(r"^all +[0-9.]+ MB +257 +", run.stdout, re.MULTILINE)
    assert re.search(r"An update is expected to push [0-9.]+ MB of [0-9.]+ MB; with", run.stdout)
    assert run.started == ()


def test_the_document_is_true_of_the_descriptor(monorepo: Monorepo) -> None:
    """Digests and sizes are those of the image; shares rise from what is needed to what needs it."""
    (image,) = layers(monorepo, "app:image")
    descriptor = monorepo.descriptor("app/image.image.json")
    known = [(layer["digest"], layer["size"]) for layer in descriptor["layers"]]
    assert [(layer["digest"], layer["size"]) for layer in image["layers"]] == known
    assert image["digest"] == descriptor["digest"]
    assert (image["size"], image["paths"]) == (sum(size for _, size in known), 257)
    assert 0 < image["idealBytes"] < image["expectedBytes"] < image["size"]
    paths = {path["path"][44:]: path for layer in image["layers"] for path in layer["paths"]}
    assert len(paths) == 257
    assert paths["app"]["share"] == 1.0
    assert paths["libc6-2.36-9+deb12u14"]["share"] < paths[_REBUILT]["share"] < 0.1


def test_several_targets_in_a_file(monorepo: Monorepo) -> None:
    """Layers and images are shown one after the other, whatever else is named."""
    run = monorepo.pants("nix-layers", "--output-file=out/layers.txt", "app::")
    text = (monorepo.root / "out/layers.txt").read_text()
    assert run.stdout == ""
    heads = re.findall(r"^(app:\w+)(?:  sha256:.*)?$", text, re.MULTILINE)
    assert heads == ["app:image", "app:other", "app:runtime"]
    assert [path.name for path in (monorepo.root / "out").iterdir()] == ["layers.txt"]


def test_no_change_costs_nothing(monorepo: Monorepo) -> None:
    run = monorepo.pants("nix-layers", "--diff=old.image.json", "app:image")
    assert "Nothing to push: the image is still sha256:" in run.stdout


def test_a_diff_is_what_a_push_uploads(
    tmp_path: Path, monorepo: Monorepo, plain_registry: Registry
) -> None:
    """After a change, `--diff` names the blobs and the bytes that then go over the wire, and why."""
    materialize_package_graph(monorepo.root / "changed")
    monorepo.write("changed/BUILD", _BUILD)
    publish = (
        f"--nix-images-registries={ {'test': {'address': plain_registry.host, 'default': True}} }",
        "publish",
        "changed:image",
    )
    monorepo.pants("package", *publish)
    shutil.copyfile(monorepo.root / "dist/changed/image.image.json", tmp_path / "old.json")
    before = uploaded(plain_registry)

    materialize_package_graph(
        monorepo.root / "changed", words={_REBUILT: "other"}, names=dict([_UPDATED])
    )
    (image,) = layers(monorepo, f"--diff={tmp_path / 'old.json'}", "changed:image")
    told = image["diff"]
    table = monorepo.pants("nix-layers", f"--diff={tmp_path / 'old.json'}", "changed:image").stdout
    monorepo.pants("package", *publish)

    descriptor = monorepo.descriptor("changed/image.image.json")
    sent = uploaded(plain_registry) - before
    expected = {layer["digest"] for layer in told["new"]} | {descriptor["configDigest"]}
    assert sent == expected
    sizes = sum(blob_size(tmp_path, digest) for digest in sent)
    assert sizes == told["layerBytes"] + told["configBytes"]
    assert told["pushBytes"] == sizes + descriptor["size"]
    assert len(told["new"]) + len(told["kept"]) == len(descriptor["layers"])
    assert 0 < told["changedBytes"] <= told["layerBytes"]

    causes = {cause["path"][44:]: cause for cause in told["causes"]}
    assert set(causes) == {_REBUILT, _UPDATED[1]}
    followers = {c["path"] for c in told["changes"] if any(_REBUILT in p for p in c["causes"])}
    assert len(followers) == causes[_REBUILT]["followers"] > 10
    assert {c["kind"] for c in told["changes"]} == {"rebuilt", "updated"}
    assert f"{_UPDATED[0]} -> {_UPDATED[1]} (updated)" in table
    assert re.search(f"{re.escape(_REBUILT)} \\(rebuilt\\) +{len(followers)} more", table)


def uploaded(of: Registry) -> set[str]:
    """Returns the digests of the blobs that were uploaded."""
    done = [r.path for r in of.requests("PUT", "/blobs/uploads/") if r.status == 201]
    return {re.findall("digest=(sha256(?::|%3A)[0-9a-f]+)", p)[0].replace("%3A", ":") for p in done}


def blob_size(directory: Path, digest: str) -> int:
    """Returns the size of a blob in the storage of `plain_registry`."""
    storage = directory / "registry/storage/docker/registry/v2/blobs/sha256"
    _, _, number = digest.partition(":")
    return (storage / number[:2] / number / "data").stat().st_size
