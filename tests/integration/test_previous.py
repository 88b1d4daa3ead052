"""`nixoci previous`: from an image in a real registry to the file that a split starts from."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Iterator, Mapping
from urllib.request import Request, urlopen

import pytest
from nixoci.image.config import ImageConfig
from nixoci.image.image import assemble
from nixoci.image.index.image_index import index
from nixoci.image.manifest_format import DOCKER, MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST
from nixoci.image.reference import Reference
from nixoci.image.store_path_annotation import STORE_PATHS, store_path_annotation
from nixoci.registry.errors import (
    ConnectionFailedError,
    ImageUnknownError,
    PermissionDeniedError,
    RegistryError,
    UnexpectedAnswerError,
)
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.pull import fetch_manifest
from nixoci.registry.reading.reader import LONGEST_MANIFEST
from nixoci.registry.push import PushOptions, push
from nixoci.registry.settings import Registries, RegistrySettings

from tests.integration.support import engines
from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.faulty_registry import (
    Act,
    Fault,
    TokenGate,
    faulty_registry,
    say,
    status,
    with_header,
)
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.registry import Registry
from tests.integration.support.store_images import nixoci_command
from tests.nixoci.image.layout_support import KnownImage, known_image

NO_IMAGE = 66

_FAST = RetryPolicy(attempts=3, first_delay=0.01, longest_delay=0.05)

_NIX = """\
{ system }:
let
  make = name: references: size: derivation {
    inherit name system references;
    builder = "/bin/sh";
    args = [ "-c" "/bin/head -c ${toString size} /dev/zero > $out; echo $references >> $out" ];
    allowSubstitutes = false;
  };
in rec {
  base = make "base" [ ] 10;
  large = make "large" [ ] 1000000;
  app = make "app" [ base large ] VERSION;
}
"""

_BUILD = """\
nix_source(name="nix", source="default.nix")
nix_package(name="app", source="default.nix", attr="app", dependencies=[":nix"])
nix_image(name="image", packages=[":app"], repository="acme/api", max_layers=2, FIELDS)
"""

#: With these rates, a split without another to start from is another one than `_GROUPS` make.
_RATES = 'change_rates={"base": 0.01}'
_GROUPS = 'layer_groups=[["base", "large"]]'


def nixoci(*arguments: str | Path, **environment: str) -> CompletedProcess[str]:
    """Runs the command, which needs no Nix and finds no credentials but those it is given."""
    here = {"HOME": "/nonexistent", "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    return run(nixoci_command(*arguments), env={**here, **environment}, check=False)


def annotated_image(*contents: bytes) -> KnownImage:
    """An image with a layer for each of `contents`; the store paths are `layer0`, `layer1`, …"""
    known = known_image(*contents)
    layers = [
        replace(item, annotations=store_path_annotation(recipe))
        for item, recipe in zip(known.image.layers, known.recipes)
    ]
    return replace(known, image=assemble(ImageConfig(architecture="amd64"), layers))


def push_image(
    known: KnownImage,
    target: Registry,
    name: str = "acme/api:1",
    *,
    environment: Mapping[str, str] = {},
    registries: Registries = Registries(),
) -> None:
    references = [Reference.parse(f"{target.host}/{name}")]
    options = PushOptions(registries, retry=_FAST)
    push(known.image, known.recipes, references, known.write_layer, environment, options)


def store_paths(descriptor: Mapping[str, Any]) -> list[list[str]]:
    return [
        [entry["path"] for entry in layer["recipe"]["entries"]] for layer in descriptor["layers"]
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    """An empty monorepo with pantsd."""
    with Monorepo.create(tmp_path_factory.mktemp("previous"), machine_nix).with_daemon() as running:
        yield running


def test_the_layers_of_a_published_image_are_kept(
    repository: Monorepo, plain_registry: Registry
) -> None:
    """Publish, `nixoci previous`, another version with the file in the repository: the layer that did
    not change is the one that the registry has. A copy that skopeo made says the same."""
    registries = {"test": {"address": plain_registry.host, "default": True}}

    def package(version: int, fields: str, *goals: str) -> dict[str, Any]:
        repository.write("app/default.nix", _NIX.replace("VERSION", str(version)))
        repository.write("app/BUILD", _BUILD.replace("FIELDS", fields))
        repository.pants(
            f"--nix-images-registries={registries}",
            "--nix-images-annotate-layers",
            *("package", *goals),
            "app:image",
        )
        return repository.descriptor("app/image.image.json")

    first = package(900_000, _GROUPS, "publish")
    name = f"{plain_registry.host}/acme/api:latest"
    file = repository.root / "app" / "previous.json"
    result = nixoci("previous", name, "--output", file)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    layers = [layer["storePaths"] for layer in json.loads(file.read_text())["layers"]]
    assert layers == store_paths(first)
    assert nixoci("previous", name).stdout == file.read_text()

    other = package(900_001, _RATES)
    kept = package(900_001, f'{_RATES}, previous="previous.json"', "publish")
    shared = [
        {layer["digest"] for layer in each["layers"]} & {layer["digest"] for layer in first["layers"]}
        for each in (other, kept)
    ]
    assert [len(digests) for digests in shared] == [0, 1]
    # Two layers and a config at first, then the changed layer and another config.
    assert len([r for r in plain_registry.requests("PUT", "/blobs/uploads/") if r.status == 201]) == 5

    copy = f"{plain_registry.host}/acme/copy:1"
    plainly = ("--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests")
    engines.skopeo("copy", *plainly, f"docker://{name}", f"docker://{copy}")
    raw = engines.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{copy}").stdout
    assert json.loads(raw) == kept["manifest"]
    assert json.loads(nixoci("previous", copy).stdout)["layers"] == [
        {"storePaths": paths} for paths in store_paths(kept)
    ]


def test_podman_runs_an_annotated_image(repository: Monorepo, plain_registry: Registry) -> None:
    """The annotations are in what it pulls, by the digest in dist/."""
    repository.clear()
    write_busybox_image(repository, "app")
    registries = {"test": {"address": plain_registry.host, "default": True}}
    repository.pants(
        f"--nix-images-registries={registries}",
        "--nix-images-annotate-layers",
        *("package", "publish", "app:image"),
    )
    descriptor = repository.descriptor("app/image.image.json")
    (name,) = descriptor["references"]
    assert STORE_PATHS in json.dumps(descriptor["manifest"])
    pulled = f"docker://{name.rpartition(':')[0]}@{descriptor['digest']}"
    result = engines.podman_run(pulled, ["echo from podman"], options=["--tls-verify=false"])
    assert result.stdout == "from podman\n"


def test_a_registry_with_tls_and_a_password(secure_registry: Registry, tmp_path: Path) -> None:
    """With credentials and the certificate's authority it works; without, a sentence says what lacks,
    and the file of an earlier time stays as it was."""
    host = secure_registry.host
    login = {"DOCKER_CONFIG": str(secure_registry.write_docker_config(tmp_path / "docker").parent)}
    trust = Registries([RegistrySettings(host, ca_file=str(secure_registry.certificate))])
    push_image(annotated_image(b"a", b"b"), secure_registry, environment=login, registries=trust)
    settings = tmp_path / "registries.json"
    settings.write_bytes(trust.to_json())
    output = tmp_path / "previous.json"
    output.write_text("as it was")
    command = ("previous", f"{host}/acme/api:1", "--output", output)
    for arguments, environment, expected in (
        ((), login, "ca_file"),
        (("--registries", settings), {}, "docker login"),
    ):
        refused = nixoci(*command, *arguments, **environment)
        assert refused.returncode == 1
        assert expected in refused.stderr and refused.stdout == ""
        assert output.read_text() == "as it was"
    result = nixoci(*command, "--registries", settings, **login)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    found = json.loads(output.read_text())["layers"]
    expected_paths = [[f"/nix/store/{'0' * 32}-layer{number}"] for number in range(2)]
    assert [layer["storePaths"] for layer in found] == expected_paths


def test_what_is_no_annotated_image(plain_registry: Registry, tmp_path: Path) -> None:
    """No tag, no annotations, several platforms: what it is, and what to do."""
    host = plain_registry.host
    missing = nixoci("previous", f"{host}/acme/api:1")
    assert missing.returncode == NO_IMAGE
    assert f"no image {host}/acme/api:1" in missing.stderr
    assert "leave the field `previous` of the target out" in missing.stderr
    document = json.loads(nixoci("--json-errors", "previous", f"{host}/acme/api:1").stdout)
    assert document["error"] == "ImageUnknownError"
    assert document["reference"] == f"{host}/acme/api:1"

    push_image(known_image(b"a"), plain_registry)
    plain = nixoci("previous", f"{host}/acme/api:1")
    assert plain.returncode == 1 and plain.stdout == ""
    assert f"{host}/acme/api:1" in plain.stderr and "[nix-images].annotate_layers" in plain.stderr

    annotated = annotated_image(b"a")
    push_image(annotated, plain_registry)
    names = (f"docker://{host}/acme/api:1", f"docker://{host}/acme/api:converted")
    plainly = ("--src-tls-verify=false", "--dest-tls-verify=false", "--format=v2s2")
    engines.skopeo("copy", *plainly, *names)
    converted = nixoci("previous", f"{host}/acme/api:converted")
    assert converted.returncode == 1 and "converted by another tool" in converted.stderr
    push_image(known_image(b"a", format=DOCKER), plain_registry)
    other = nixoci("previous", f"{host}/acme/api:1")
    assert other.returncode == 1 and '`manifest_format="oci"`' in other.stderr


def test_one_image_of_an_index(plain_registry: Registry) -> None:
    """It has to be said which; what is there is listed."""
    amd, arm = annotated_image(b"a"), annotated_image(b"a", b"b")
    arm = replace(arm, image=assemble(ImageConfig(architecture="arm64"), arm.image.layers))
    for number, known in enumerate((amd, arm)):
        push_image(known, plain_registry, f"acme/platforms:{number}")
    host = plain_registry.host
    address = f"http://{host}/v2/acme/platforms/manifests/all"
    content = index([amd.image, arm.image]).content
    headers = {"Content-Type": MEDIA_TYPE_INDEX}
    with urlopen(Request(address, content, headers, method="PUT"), timeout=10) as answer:
        assert answer.status == 201
    name = f"{host}/acme/platforms:all"
    for number, platform in enumerate(("linux/amd64", "linux/arm64")):
        chosen = nixoci("previous", name, f"--platform={platform}")
        assert chosen.returncode == 0, chosen.stderr
        assert chosen.stdout == nixoci("previous", f"{host}/acme/platforms:{number}").stdout
        assert len(json.loads(chosen.stdout)["layers"]) == number + 1
    for arguments, expected in (
        ((name,), "(linux/amd64, linux/arm64); choose one with --platform"),
        ((name, "--platform=linux/ppc64le"), "no image for linux/ppc64le, only for linux/amd64, linux/arm64"),
        ((name, "--platform=arm64"), "expected OS/ARCHITECTURE"),
        ((f"{host}/acme/platforms:0", "--platform=linux/amd64"), "leave --platform out"),
    ):
        refused = nixoci("previous", *arguments)
        assert refused.returncode == 1 and refused.stdout == ""
        assert expected in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_the_output(plain_registry: Registry, tmp_path: Path) -> None:
    """It is replaced whole, links are followed, devices written into, and what cannot be written is one sentence."""
    push_image(annotated_image(b"a"), plain_registry)
    name = f"{plain_registry.host}/acme/api:1"
    expected = nixoci("previous", name).stdout
    (tmp_path / "link").symlink_to("previous.json")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "previous.json").write_text("old")
    with open(tmp_path / "previous.json") as old:
        assert nixoci("previous", name, "--output", tmp_path / "link").returncode == 0
        assert old.read() == "old" and (tmp_path / "previous.json").read_text() == expected
    assert nixoci("previous", name, "--output", tmp_path / "null").returncode == 0
    assert os.readlink(tmp_path / "null") == "/dev/null" and (tmp_path / "link").is_symlink()
    assert nixoci("previous", name, "--output", "/dev/stdout").stdout == expected
    for output, reason in (
        (tmp_path, "Is a directory"),
        ("", "its name is empty"),
        ("/dev/full", "No space left on device"),
        (tmp_path / "no" / "such", "No such file or directory"),
    ):
        failed = nixoci("previous", name, "--output", output)
        assert failed.returncode == 1 and len(failed.stderr.splitlines()) == 1
        assert f" cannot be written: {reason}." in failed.stderr
    assert sorted(os.listdir(tmp_path)) == ["link", "null", "previous.json", "registry"]


def test_what_is_asked(plain_registry: Registry, tmp_path: Path) -> None:
    """One GET, for a token that allows to pull and no more; a registry that is busy is asked again."""
    known = annotated_image(b"a")
    push_image(known, plain_registry)
    gate = TokenGate()
    busy = Fault(status(503), "GET", "/manifests/")
    with faulty_registry(plain_registry.host, busy, gate=gate) as proxy:
        login = replace(plain_registry, host=proxy.host).write_docker_config(tmp_path)
        environment = {"DOCKER_CONFIG": str(login.parent)}
        reference = Reference.parse(f"{proxy.host}/acme/api:1")
        assert fetch_manifest(reference, environment, retry=_FAST) == known.image.manifest
        assert gate.scopes == [["repository:acme/api:pull"]]
        paths = {request.path.partition("?")[0] for request in proxy.requests}
        assert paths == {"/v2/acme/api/manifests/1", "/token"}
        assert {request.method for request in proxy.requests} == {"GET"}
        (accept,) = {
            request.headers["Accept"] for request in proxy.requests if "/v2/" in request.path
        }
        assert accept.split(", ")[0] == MEDIA_TYPE_MANIFEST


def _answer(body: bytes) -> Act:
    return status(200, {}, body)


@pytest.mark.parametrize(
    "act, error, message",
    [
        (status(403, {}, b""), PermissionDeniedError, "let this user read.*permission to pull"),
        (status(404, {}, b"<html>"), ImageUnknownError, "no image .*acme/api:1 .status 404"),
        (status(500, {}, b""), UnexpectedAnswerError, "for the manifest 1.*status 500"),
        (
            with_header("Docker-Content-Digest", f"sha256:{'0' * 64}"),
            UnexpectedAnswerError,
            "with the digest sha256:0000",
        ),
        (_answer(b" " * (LONGEST_MANIFEST + 1)), UnexpectedAnswerError, "more than 4194304 bytes"),
        (_answer(b" " * (LONGEST_MANIFEST * 3)), UnexpectedAnswerError, "more than 4194304 bytes"),
        (
            say(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b" " * 300_000),
            ConnectionFailedError,
            "failed",
        ),
    ],
)
def test_registries_that_fail(
    plain_registry: Registry, act: Act, error: type[RegistryError], message: str
) -> None:
    """Nothing is taken for a manifest that is cut, too long, or not what the registry says it is."""
    push_image(annotated_image(b"a"), plain_registry)
    with faulty_registry(plain_registry.host, Fault(act, "GET", "/manifests/", 99)) as proxy:
        with pytest.raises(error, match=message):
            fetch_manifest(Reference.parse(f"{proxy.host}/acme/api:1"), {}, retry=_FAST)


def test_the_longest_manifest(plain_registry: Registry) -> None:
    """What is just small enough arrives whole."""
    body = b" " * LONGEST_MANIFEST
    with faulty_registry(plain_registry.host, Fault(_answer(body), "GET")) as proxy:
        assert fetch_manifest(Reference.parse(f"{proxy.host}/acme/api:1"), {}) == body
