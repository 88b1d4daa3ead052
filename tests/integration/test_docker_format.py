"""Manifests in Docker's format and healthchecks: real registries, podman, docker and skopeo have both."""

from __future__ import annotations

import json
import tarfile
import time
import uuid
from pathlib import Path
from typing import Any, Iterator, Union
from urllib.request import Request, urlopen

import pytest
from nixoci.compression.formats import Compression
from nixoci.image.descriptor import Descriptor
from nixoci.image.healthcheck import Healthcheck
from nixoci.image.manifest_format import DOCKER, MANIFEST_FORMATS, OCI
from nixoci.image.reference import Reference
from nixoci.registry.lookup import Lacking, Lookup

from tests.integration.support import engines
from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.published import publish
from tests.integration.support.registry import Registry
from tests.integration.support.store_images import (
    GREETING,
    StoreImage,
    nixoci,
    nixoci_command,
    nixoci_environment,
    requested_layers,
    serving,
    write_store_image,
)

Engine = Union[engines.Docker, engines.Podman]

#: It is well as soon as the container has made a file.
CHECK = Healthcheck(
    ("CMD", "{sh}", "-c", "test -e /well"), interval=10**9, timeout=5 * 10**9, retries=2
)
SLEEP = "touch /well && sleep 60"


@pytest.fixture(scope="module")
def podman() -> Iterator[engines.Podman]:
    with engines.podman() as running:
        yield running


@pytest.fixture(params=("docker", "podman"))
def engine(request: pytest.FixtureRequest) -> Engine:
    running: Engine = request.getfixturevalue(request.param)
    return running


@pytest.fixture(params=(None, "gzip"), ids=("plain", "gzip"))
def image(request: pytest.FixtureRequest, machine_nix: Nix, tmp_path: Path) -> StoreImage:
    """An image in Docker's format that has a healthcheck and a layer of its own."""
    word = uuid.uuid4().hex
    return write_store_image(
        machine_nix,
        tmp_path / "image",
        data={"word": word.encode()},
        references=(f"acme/{word}:1.0", f"registry.example/acme/{word}:latest"),
        compression=request.param and Compression.create(request.param),
        healthcheck=CHECK,
        format=DOCKER,
    )


def oci_image(nix: Nix, directory: Path, check: Healthcheck = CHECK) -> StoreImage:
    word = uuid.uuid4().hex
    references = (f"acme/{word}:1.0", f"acme/{word}:latest")
    data = {"word": word.encode()}
    return write_store_image(nix, directory, data=data, references=references, healthcheck=check)


def inspected(engine: Engine, name: str) -> dict[str, Any]:
    (found,) = json.loads(engine.run("image", "inspect", name).stdout)
    assert isinstance(found, dict)
    return found


def healthcheck_in(engine: Engine, name: str) -> Any:
    """What the engine knows of an image's healthcheck; podman has it beside the config."""
    found = inspected(engine, name)
    place = found if engine.name == "podman" else found["Config"]
    return place.get("Healthcheck")


def recorded(image: StoreImage) -> Any:
    return image.document["config"]["config"]["Healthcheck"]


def pull(engine: Engine, name: str) -> None:
    options = ["--tls-verify=false"] if engine.name == "podman" else []
    engine.run("pull", "--quiet", *options, name)


def get_manifest(name: str) -> tuple[str, bytes]:
    """Returns Content-Type and manifest as a registry has it, asked by a client that takes both formats."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    accept = ", ".join(format.manifest for format in MANIFEST_FORMATS.values())
    request = Request(f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": accept})
    with urlopen(request, timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_a_registry_has_it_as_it_is(
    machine_nix: Nix, image: StoreImage, plain_registry: Registry, tmp_path: Path
) -> None:
    """Its media type is the manifest's; a second push, and who asks what is lacking, ask for the tag only; skopeo
    copies every byte."""
    name = f"{plain_registry.host}/acme/api:1"
    nixoci(machine_nix, "push", image.descriptor, name)
    media_type, manifest = get_manifest(name)
    assert media_type == DOCKER.manifest
    assert json.loads(manifest) == image.document["manifest"]
    start = len(plain_registry.requests())
    nixoci(machine_nix, "push", image.descriptor, name)
    known = Descriptor.from_json(image.descriptor.read_bytes()).image
    layers = [item.layer for item in known.layers]
    assert Lookup({}).lacking(known, layers, [Reference.parse(name)]) == Lacking(True)
    assert [request.method for request in plain_registry.requests()[start:]] == ["HEAD", "HEAD"]
    options = ("--src-tls-verify=false", "--preserve-digests")
    engines.skopeo("copy", *options, f"docker://{name}", f"dir:{tmp_path}/dir")
    assert (tmp_path / "dir" / "manifest.json").read_bytes() == manifest


def test_a_tag_moves_from_one_format_to_the_other(
    machine_nix: Nix, plain_registry: Registry, tmp_path: Path
) -> None:
    """Nothing but the manifest is sent: config and layers are the same."""
    name = f"{plain_registry.host}/acme/api:1"
    for number, format in enumerate((OCI, DOCKER, OCI)):
        start = len(plain_registry.requests())
        written = write_store_image(machine_nix, tmp_path / str(number), data={}, format=format)
        nixoci(machine_nix, "push", written.descriptor, name)
        puts = [r.path for r in plain_registry.requests()[start:] if r.method == "PUT"]
        assert number == 0 or puts == ["/v2/acme/api/manifests/1"]
        assert get_manifest(name)[0] == format.manifest


def test_engines_pull_and_run_it(
    machine_nix: Nix, image: StoreImage, plain_registry: Registry, engine: Engine
) -> None:
    """They know its healthcheck, under the ID that it has everywhere."""
    name = f"{plain_registry.host}/acme/api:1"
    nixoci(machine_nix, "push", image.descriptor, name)
    pull(engine, name)
    assert healthcheck_in(engine, name) == recorded(image)
    identifier = inspected(engine, name)["Id"].rpartition(":")[2]
    assert image.document["configDigest"].endswith(identifier)
    options = ("--rm", "--network=none", "--pull=never")
    assert engine.run("run", *options, name).stdout.strip() == GREETING
    engine.run("rmi", "--force", image.document["configDigest"])


def test_podman_drops_that_of_an_oci_image(
    machine_nix: Nix,
    plain_registry: Registry,
    podman: engines.Podman,
    docker: engines.Docker,
    tmp_path: Path,
) -> None:
    """Docker does not. This is what `package` warns of."""
    image = oci_image(machine_nix, tmp_path / "image")
    name = f"{plain_registry.host}/acme/api:1"
    nixoci(machine_nix, "push", image.descriptor, name)
    for engine, expected in ((docker, recorded(image)), (podman, None)):
        pull(engine, name)
        assert healthcheck_in(engine, name) == expected
        engine.run("rmi", "--force", image.document["configDigest"])


def test_load_and_serve(machine_nix: Nix, image: StoreImage, engine: Engine, tmp_path: Path) -> None:
    """Engines get it from us in Docker's format, too."""
    words = nixoci_command("load", f"--engine={engine.name}", image.descriptor)
    run(engine.command(*words), env=nixoci_environment(machine_nix, engine.environment()))
    (name, _) = image.document["references"]
    assert healthcheck_in(engine, name) == recorded(image)
    engine.run("rmi", "--force", image.document["configDigest"])
    with serving(machine_nix, tmp_path / "log", image.descriptor) as lines:
        served = lines[0].split()[0]
        assert get_manifest(served) == (
            DOCKER.manifest,
            json.dumps(image.document["manifest"], sort_keys=True, separators=(",", ":")).encode(),
        )
        pull(engine, served)
        assert healthcheck_in(engine, served) == recorded(image)
    engine.run("rmi", "--force", image.document["configDigest"])


def test_podman_that_has_the_oci_image_loads_the_other(
    machine_nix: Nix, podman: engines.Podman, tmp_path: Path
) -> None:
    """Both have the same ID, so it looks as if there were nothing to do; no layer is sent again."""
    word = uuid.uuid4().hex
    sent = []
    for format in (OCI, DOCKER, DOCKER):
        image = write_store_image(
            machine_nix,
            tmp_path / str(len(sent)),
            data={"word": word.encode()},
            references=(f"acme/{word}:1.0",),
            healthcheck=CHECK,
            format=format,
        )
        words = nixoci_command("load", "--engine=podman", "--log-requests", image.descriptor)
        environment = nixoci_environment(machine_nix, podman.environment())
        result = run(podman.command(*words), env=environment)
        expected = None if format == OCI else recorded(image)
        assert healthcheck_in(podman, f"acme/{word}:1.0") == expected
        sent.append((bool(result.stderr), len(requested_layers(result.stderr, image))))
    # The layer of busybox may be there already.
    assert sent[1:] == [(True, 0), (False, 0)] and sent[0][1] > 0


@pytest.mark.parametrize("format", MANIFEST_FORMATS)
def test_docker_archives(machine_nix: Nix, engine: Engine, format: str, tmp_path: Path) -> None:
    """Whatever format the manifest has, podman and docker load all names and the healthcheck, and skopeo
    reads it; there is no OCI image layout in it, which podman would prefer."""
    word = uuid.uuid4().hex
    names = (f"registry.example/acme/{word}:1.0", f"registry.example/acme/{word}:latest")
    image = write_store_image(
        machine_nix,
        tmp_path / "image",
        data={"word": word.encode()},
        references=names,
        healthcheck=CHECK,
        format=MANIFEST_FORMATS[format],
    )
    archive = tmp_path / "image.tar"
    nixoci(machine_nix, "write", image.descriptor, "--format=docker-archive", f"--output={archive}")
    with tarfile.open(archive) as opened:
        assert {"index.json", "oci-layout"}.isdisjoint(opened.getnames())
    engine.run("load", "--quiet", "--input", archive)
    for name in names:
        assert healthcheck_in(engine, name) == recorded(image)
        config = engines.skopeo(
                "inspect", "--raw", "--config", f"docker-archive:{archive}:{name}"
            ).stdout
        assert json.loads(config)["config"]["Healthcheck"] == recorded(image)
    assert engine.run("run", "--rm", "--network=none", names[0]).stdout.strip() == GREETING
    engine.run("rmi", "--force", image.document["configDigest"])


def test_an_oci_layout_of_it_is_refused(machine_nix: Nix, image: StoreImage, tmp_path: Path) -> None:
    for name in ("oci-layout", "oci-archive"):
        words = ("write", image.descriptor, f"--format={name}", f"--output={tmp_path / name}")
        result = nixoci(machine_nix, *words, check=False)
        assert result.returncode == 1
        assert "an OCI image layout has OCI manifests; write a docker-archive" in result.stderr
        assert not (tmp_path / name).exists()


def test_podman_runs_the_check(machine_nix: Nix, podman: engines.Podman, image: StoreImage) -> None:
    """By hand, as systemd would: it fails until the file is there."""
    words = nixoci_command("load", "--engine=podman", image.descriptor)
    run(podman.command(*words), env=nixoci_environment(machine_nix, podman.environment()))
    (name, _) = image.document["references"]
    # The namespaces of these commands end with them, so the container has to start and end in one.
    script = f"""
set -e
podman run --detach --name=checked {name} 'sleep 1; {SLEEP}' >/dev/null
podman healthcheck run checked >/dev/null 2>&1 && echo early || echo failed
sleep 3
podman healthcheck run checked && echo passed
podman inspect --format '{{{{json .Config.Healthcheck}}}}' checked
podman rm --force --time=0 checked >/dev/null
"""
    environment = {**podman.environment(), "DISABLE_HC_SYSTEMD": "true"}
    output = run(podman.command("/bin/sh", "-c", script), env=environment).stdout.splitlines()
    assert output[:1] + output[-2:-1] == ["failed", "passed"]
    assert json.loads(output[-1]) == recorded(image)


def test_docker_runs_the_check(machine_nix: Nix, docker: engines.Docker, tmp_path: Path) -> None:
    """And calls the container healthy; of an OCI image too."""
    image = oci_image(machine_nix, tmp_path / "image")
    words = nixoci_command("load", "--engine=docker", image.descriptor)
    run(words, env=nixoci_environment(machine_nix, docker.environment()))
    (name, _) = image.document["references"]
    container = docker.run("run", "--detach", "--network=none", name, SLEEP).stdout.strip()
    try:
        deadline = time.monotonic() + 30
        status = ""
        while status != "healthy" and time.monotonic() < deadline:
            time.sleep(0.2)
            question = ("inspect", "--format", "{{.State.Health.Status}}", container)
            status = docker.run(*question).stdout.strip()
        assert status == "healthy"
    finally:
        docker.run("rm", "--force", container)


_BUILD = """
nix_image(
    name="image",
    packages=[":busybox"],
    entrypoint=["{busybox}/sh", "-c"],
    healthcheck={"test": ["{busybox}/sh", "-c", "true"], "interval": "30s", "retries": 3},
    repository="acme/api",
    %s
)
"""


def test_from_target_to_engine(
    machine_nix: Nix, plain_registry: Registry, podman: engines.Podman, tmp_path: Path
) -> None:
    """`package` and `publish` of one image: with the default a warning, once; in Docker's format none, and
    podman has the healthcheck."""
    repository = Monorepo.create(tmp_path / "monorepo", machine_nix)
    write_busybox_image(repository, "app")
    with repository.with_daemon() as running:
        _from_target_to_engine(running, plain_registry, podman)


def _from_target_to_engine(
    repository: Monorepo, plain_registry: Registry, podman: engines.Podman
) -> None:
    packages = (repository.root / "app" / "BUILD").read_text().partition("nix_image(")[0]
    repository.write("app/BUILD", packages + _BUILD % "")
    plain = publish(repository, plain_registry, "app:image")
    assert plain.run.stderr.count("app:image has a healthcheck") == 1
    assert '`manifest_format="docker"`' in plain.run.stderr

    repository.write("app/BUILD", packages + _BUILD % 'manifest_format="docker",')
    other = publish(repository, plain_registry, "app:image")
    assert "healthcheck" not in other.run.stderr
    assert (other.uploaded, other.manifests) == ([], 1)
    assert get_manifest(f"{plain_registry.host}/acme/api:latest")[0] == DOCKER.manifest
    pull(podman, other.reference)
    expected = other.descriptor["config"]["config"]["Healthcheck"]
    assert expected["Interval"] == 30 * 10**9 and expected["Retries"] == 3
    assert healthcheck_in(podman, other.reference) == expected
