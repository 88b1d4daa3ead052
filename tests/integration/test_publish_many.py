"""Several images in one `pants publish`, and one image in several registries: as real registries log it."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path
from typing import Any, Iterator
from urllib.request import Request, urlopen

import pytest
from nixoci.image.manifest_format import OCI

from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry, registry

_SHARED = """\
file(name="shared", source="shared.txt")
nix_layer(name="layer", contents={":shared": "/shared"})
"""

_IMAGE = """\
file(name="own", source="own.txt")
nix_image(name="image", layers=["base:layer"], contents={":own": "/own"}, %s)
"""


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    """That of all tests, with pantsd."""
    made = Monorepo.create(tmp_path_factory.mktemp("publish-many"), machine_nix)
    with made.with_daemon() as running:
        yield running


@pytest.fixture
def repository(monorepo: Monorepo) -> Monorepo:
    """Images without Nix packages: `one:image` and `two:image` share a layer. There is nothing else."""
    monorepo.clear()
    monorepo.write("base/BUILD", _SHARED)
    monorepo.write("base/shared.txt", "shared\n" * 100_000)
    for name in ("one", "two"):
        write_image(monorepo, name, f'repository="acme/{name}"')
    return monorepo


def write_image(repository: Monorepo, name: str, fields: str, text: str = "") -> None:
    repository.write(f"{name}/BUILD", _IMAGE % fields)
    repository.write(f"{name}/own.txt", f"{name} {text}")


def publish(
    repository: Monorepo, *targets: str, to: list[str], check: bool = True, **entry: Any
) -> PantsRun:
    """:param to: the registries, all of them default ones."""
    registries = {
        f"registry{number}": {"address": host, "default": True, "plain_http": True, **entry}
        for number, host in enumerate(to)
    }
    return repository.pants(
        f"--nix-images-registries={registries}",
        "--publish-output=published.json",
        "publish",
        *targets,
        check=check,
    )


def published(repository: Monorepo) -> list[dict[str, Any]]:
    return json.loads((repository.root / "published.json").read_text())


def tagged(host: str, name: str, tag: str = "latest") -> str:
    """Returns the digest that a tag names."""
    request = Request(
        f"http://{host}/v2/{name}/manifests/{tag}",
        method="HEAD",
        headers={"Accept": OCI.manifest},
    )
    with urlopen(request, timeout=10) as answer:
        return answer.headers["Docker-Content-Digest"]


def shared_layer(repository: Monorepo) -> str:
    """Returns the digest of the layer that both images have."""
    repository.pants("package", "one:image")
    (digest,) = [
        layer["digest"]
        for layer in repository.descriptor("one/image.image.json")["layers"]
        if any(entry["path"] == "/shared" for entry in layer["recipe"]["files"])
    ]
    return digest


@pytest.mark.parametrize(
    "one, two, targets, name",
    [
        pytest.param(
            'repository="acme/{name}"',
            'repository="acme/{name}"',
            ["one:image", "two:image"],
            "acme/image:latest",
            id="repository",
        ),
        pytest.param(
            'repository="acme/x", image_tags=["1", "2"]',
            'repository="acme/x", image_tags=["2", "3"]',
            ["one:image", "two:image"],
            "acme/x:2",
            id="one-of-two-tags",
        ),
        pytest.param(
            'architecture=parametrize("amd64", "arm64")',
            "",
            ["one:image@architecture=amd64", "one:image@architecture=arm64"],
            "image:latest",
            id="parametrized",
        ),
    ],
)
def test_two_images_with_one_name(
    repository: Monorepo,
    plain_registry: Registry,
    one: str,
    two: str,
    targets: list[str],
    name: str,
) -> None:
    """Nothing is pushed, of whatever image."""
    write_image(repository, "one", one)
    write_image(repository, "two", two)
    host = plain_registry.host
    run = publish(repository, *targets, to=[host], check=False)
    assert run.result.returncode
    assert f"{targets[0]} and {targets[1]} would both be published as {host}/{name}" in run.error
    assert not plain_registry.requests("P.*")


@pytest.mark.parametrize(
    "one, two, targets",
    [
        ('output_path="x"', 'output_path="x"', ["one:image", "two:image"]),
        (
            'output_path="x.tar", output_format="oci-archive"',
            'output_path="x.tar", output_format="docker-archive"',
            ["one:image", "two:image"],
        ),
        (
            'output_path="x", architecture=parametrize("amd64", "arm64")',
            "",
            ["one:image@architecture=amd64", "one:image@architecture=arm64"],
        ),
    ],
)
def test_two_targets_with_one_output_path(
    repository: Monorepo, one: str, two: str, targets: list[str]
) -> None:
    """Each alone can be packaged."""
    write_image(repository, "one", one)
    write_image(repository, "two", two)
    run = repository.pants("package", *targets, check=False)
    assert run.result.returncode
    assert f"{targets[0]} and {targets[1]} would both write x" in run.error
    assert "sha256:" not in run.error
    repository.pants("package", targets[1])


@pytest.mark.parametrize("refuses", ["down", "login"])
def test_tags_move_when_all_registries_have_all(
    repository: Monorepo, plain_registry: Registry, tmp_path: Path, refuses: str
) -> None:
    """A registry that is down, or lets nobody in, leaves the tags of the other one alone."""
    first = plain_registry.host
    publish(repository, "one:image", to=[first])
    before = tagged(first, "acme/one")
    write_image(repository, "one", 'repository="acme/one"', "changed")
    with socket.socket() as unused, registry(tmp_path / "b", tls_and_auth=True) as closed:
        unused.bind(("127.0.0.1", 0))
        second = f"127.0.0.1:{unused.getsockname()[1]}" if refuses == "down" else closed.host
        options = {} if refuses == "down" else {"plain_http": False, "skip_tls_verify": True}
        registries = {
            "first": {"address": first, "default": True},
            "second": {"address": second, "default": True, **options},
        }
        run = repository.pants(
            f"--nix-images-registries={registries}",
            "--publish-output=published.json",
            "publish",
            "one:image",
            check=False,
        )
    assert run.result.returncode
    assert tagged(first, "acme/one") == before
    (data,) = published(repository)
    assert data["published"] is False
    for host in (first, second):
        assert f"{host}/acme/one:latest failed" in run.stderr


def test_several_registries_are_one_push(
    repository: Monorepo, plain_registry: Registry, tmp_path: Path
) -> None:
    """All have the image then, and what is written for later steps names it in each."""
    with registry(tmp_path / "b") as other:
        hosts = [plain_registry.host, other.host]
        publish(repository, "one:image", to=hosts)
        (data,) = published(repository)
        digest = data["digest"]
        assert [tagged(host, "acme/one") for host in hosts] == [digest, digest]
        assert [one["reference"] for one in data["repositories"]] == [
            f"{host}/acme/one@{digest}" for host in hosts
        ]
        assert data["reference"] == f"{hosts[0]}/acme/one@{digest}"
        assert data["names"] == [f"{host}/acme/one:latest" for host in hosts]
        # The last thing that a registry gets is a tag: the other one has all then.
        assert other.requests("PUT", "/manifests/")[-1].path.endswith("/latest")


def test_layers_that_another_image_has(repository: Monorepo, plain_registry: Registry) -> None:
    """Are uploaded once in a command, and not at all for a later image."""
    host = plain_registry.host
    first = publish(repository, "one:image", "two:image", to=[host])
    shared = shared_layer(repository).replace(":", "(:|%3A)")
    assert [r.status for r in plain_registry.requests("PUT", f"/blobs/uploads/.*{shared}")] == [201]
    assert "1 mounted" in first.stdout
    write_image(repository, "three", 'repository="acme/three"')
    third = publish(repository, "three:image", to=[host])
    assert "2 blobs uploaded (" in third.stdout and "1 mounted" in third.stdout
    mounts = plain_registry.requests("POST", f"mount={shared}")
    assert [request.status for request in mounts].count(201) == 2
    # To ask costs nothing: a POST for each blob, whether it is mounted or uploaded.
    posts = plain_registry.requests("POST", "/acme/three/")
    assert len(posts) == 3


def test_layers_that_images_of_the_repository_may_have(
    repository: Monorepo, plain_registry: Registry, tmp_path: Path, machine_nix: Nix
) -> None:
    """A machine that has never pushed anything takes them over from where another one has pushed them; a guess
    that is wrong, or an image whose name cannot be told, costs nothing."""
    host = plain_registry.host
    publish(repository, "one:image", to=[host])
    other = Monorepo.create(tmp_path, machine_nix, name="other")
    for name in ("base/BUILD", "base/shared.txt", "one/BUILD", "one/own.txt"):
        other.write(name, (repository.root / name).read_text())
    write_image(other, "new", 'repository="acme/new"')
    write_image(other, "odd", 'repository="{build_args.NOTHING}"')
    run = publish(other, "new:image", to=[host])
    assert "2 blobs uploaded (" in run.stdout and "1 mounted" in run.stdout
    assert len(plain_registry.requests("POST", "/acme/new/")) == 3
    write_image(other, "one", 'repository="acme/absent"')
    write_image(other, "new", 'repository="acme/newer"')
    (other.cache / "named").rename(tmp_path / "gone")
    publish(other, "new:image", to=[host])
    assert len(plain_registry.requests("POST", "/acme/newer/")) == 3


def test_images_that_are_there(repository: Monorepo, plain_registry: Registry) -> None:
    """Cost a request for each tag and no process, and are told with all that later steps need."""
    host = plain_registry.host
    write_image(repository, "one", 'repository="acme/one", image_tags=["1", "2"]')
    publish(repository, "one:image", "two:image", to=[host])
    first = {data["target"]: data for data in published(repository)}
    start = len(plain_registry.requests())
    again = publish(repository, "one:image", "two:image", to=[host])
    requests = plain_registry.requests()[start:]
    assert [(request.method, request.status) for request in requests] == [("HEAD", 200)] * 3
    assert again.stdout == ""
    digest = first["one:image"]["digest"]
    for tag in ("1", "2"):
        assert (
            f"{host}/acme/one:{tag} skipped (one:image: the registry has it already, {digest})."
            in again.stderr
        )
    for data in published(repository):
        known = first[data["target"]]
        assert (data["published"], data["unchanged"]) == (False, True)
        assert (known["published"], known["unchanged"]) == (True, False)
        for name in ("digest", "reference", "repositories", "names"):
            assert data[name] == known[name]


def test_a_line_for_each_image(repository: Monorepo, plain_registry: Registry) -> None:
    """Target, reference, digest and bytes; the blobs only at the level debug."""
    host = plain_registry.host
    run = publish(repository, "one:image", "two:image", to=[host])
    lines = sorted(line for line in run.stdout.splitlines() if line)
    assert [line.split(": ")[0] for line in lines] == ["one:image", "two:image"]
    for data, line in zip(sorted(published(repository), key=lambda d: d["target"]), lines):
        assert f"{data['names'][0]}@{data['digest']} written: " in line
        assert " MB)" in line
    assert "sha256:" not in run.stderr.partition("✓")[0].replace("Digest sha256:", "")
    write_image(repository, "two", 'repository="acme/two"', "changed")
    # Another level would start another pantsd.
    cold = dataclasses.replace(repository, daemon=False)
    again = publish(cold, "two:image", "-ldebug", to=[host])
    assert f"{host}/acme/two: sha256:" in again.stderr
