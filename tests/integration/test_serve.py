"""`nixoci serve`: unpatched tools copy images from it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from nixoci.compression.formats import Compression

from tests.integration.support import engines
from tests.integration.support.go import conformance_suite
from tests.integration.support.nix import Nix
from tests.integration.support.process import dies_with_parent, run
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


@pytest.fixture(scope="module")
def image(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> StoreImage:
    data = {"big": bytes(range(256)) * 20_000, "small": b"small"}
    return write_store_image(machine_nix, tmp_path_factory.mktemp("image"), data=data)


def test_skopeo_copies_into_a_registry(
    machine_nix: Nix, image: StoreImage, plain_registry: Registry, tmp_path: Path
) -> None:
    """The copy has the digest of the descriptor; both names of the image are served."""
    with serving(machine_nix, tmp_path / "log", image.descriptor) as lines:
        names = [line.split(" ")[0] for line in lines]
        host = names[0].partition("/")[0]
        assert [f"{host}/acme/api:1.0", f"{host}/acme/api:latest"] == names
        assert {image.document["digest"]} == {line.split(" ")[1] for line in lines}
        engines.skopeo(
            *("copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"),
            *(f"docker://{names[0]}", f"docker://{plain_registry.host}/copied:1"),
        )
    copied = f"docker://{plain_registry.host}/copied:1"
    found = json.loads(engines.skopeo("inspect", "--tls-verify=false", copied).stdout)
    assert (image.document["digest"], list(image.layers)) == (found["Digest"], found["Layers"])
    log = (tmp_path / "log").read_text()
    assert sorted(image.layers) == sorted(requested_layers(log, image))


def test_two_skopeo_copy_to_directories(
    machine_nix: Nix, image: StoreImage, tmp_path: Path
) -> None:
    """Two clients at once, one by tag and one by digest, each get every byte."""
    with serving(machine_nix, tmp_path / "log", image.descriptor) as lines:
        name = lines[0].split(" ")[0]
        by_digest = f"{name.rpartition(':')[0]}@{image.document['digest']}"

        def copy(number: int, source: str) -> Path:
            target = tmp_path / f"copy{number}"
            engines.skopeo("copy", "--src-tls-verify=false", f"docker://{source}", f"dir:{target}")
            return target

        with ThreadPoolExecutor() as executor:
            copies = list(executor.map(copy, (1, 2), (name, by_digest)))
    for directory in copies:
        for digest in image.layers:
            content = (directory / digest.partition(":")[2]).read_bytes()
            assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_layers_that_a_registry_has(
    machine_nix: Nix, image: StoreImage, plain_registry: Registry, tmp_path: Path
) -> None:
    """What the store lacks is copied from there, whole and in parts; what neither has is not served."""
    repository = f"{plain_registry.host}/staging/api"
    nixoci(machine_nix, "push", image.descriptor, f"{repository}:1")
    other = write_store_image(machine_nix, tmp_path / "other", data={"x": uuid.uuid4().bytes}, references=("o:1",))
    empty = machine_nix.chroot_store(tmp_path / "empty")
    files = (image.descriptor, other.descriptor)
    with serving(empty, tmp_path / "log", "--copy-from", repository, *files) as lines:
        name = lines[0].split(" ")[0]
        engines.skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path / 'copy'}")
        host = name.partition("/")[0]
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("GET", f"/v2/acme/api/blobs/{image.layers[1]}", headers={"Range": "bytes=1000-1999"})
        part = connection.getresponse().read()
        connection.request("GET", f"/v2/o/blobs/{other.layers[-1]}")
        missing = connection.getresponse()
        assert missing.status == 500 and other.paths[-1] in missing.read().decode()
    for digest in image.layers:
        content_of = (tmp_path / "copy" / digest.partition(":")[2]).read_bytes()
        assert digest == f"sha256:{hashlib.sha256(content_of).hexdigest()}"
        if digest == image.layers[1]:
            assert part == content_of[1000:2000]
    assert not list((tmp_path / "empty/nix/store").glob("*-*"))


def test_podman_and_docker_pull(
    machine_nix: Nix, image: StoreImage, docker: engines.Docker, tmp_path: Path
) -> None:
    """Both engines pull by the printed name and run what they got."""
    with serving(machine_nix, tmp_path / "log", image.descriptor) as lines:
        name = lines[0].split(" ")[0]
        docker.run("pull", "--quiet", name)
        assert f"{GREETING}\n" == docker.run_image(name).stdout
        docker.run("rmi", name)
        result = engines.podman_run(f"docker://{name}", options=["--tls-verify=false"])
        assert f"{GREETING}\n" == result.stdout


def test_several_images(machine_nix: Nix, image: StoreImage, tmp_path: Path) -> None:
    """Several images are served by one server; one without a name gets one of its digest."""
    other = write_store_image(machine_nix, tmp_path / "other", data={}, references=())
    files = (image.descriptor, other.descriptor)
    with serving(machine_nix, tmp_path / "log", *files) as lines:
        host = lines[0].partition("/")[0]
        digest = other.document["digest"]
        assert [f"{host}/nixoci:{digest[7:19]} {digest}"] == lines[2:]
        catalog = http.client.HTTPConnection(host, timeout=20)
        catalog.request("GET", "/v2/_catalog")
        assert {"repositories": ["acme/api", "nixoci"]} == json.loads(catalog.getresponse().read())
        catalog.close()


def test_interrupted_download_resumes(
    machine_nix: Nix, image: StoreImage, tmp_path: Path
) -> None:
    """A client that breaks off in the middle of a layer gets the rest of it with a range."""
    digest = image.layers[1]
    with serving(machine_nix, tmp_path / "log", image.descriptor) as lines:
        client = http.client.HTTPConnection(lines[0].partition("/")[0], timeout=20)
        client.request("GET", f"/v2/acme/api/blobs/{digest}")
        first = client.getresponse().read(1_000_000)
        client.close()
        headers = {"Range": f"bytes={len(first)}-"}
        client.request("GET", f"/v2/acme/api/blobs/{digest}", headers=headers)
        answer = client.getresponse()
        content = first + answer.read()
        client.close()
    assert (206, digest) == (answer.status, f"sha256:{hashlib.sha256(content).hexdigest()}")


def test_altered_store_path(machine_nix: Nix, tmp_path: Path) -> None:
    """A layer whose store path was changed on disk is not served, and the log names the path."""
    content = uuid.uuid4().hex.encode() * 100_000
    image = write_store_image(machine_nix, tmp_path / "image", data={"altered": content})
    target = Path(image.paths[1], "data")
    target.chmod(0o644)
    target.write_bytes(b"X" + content[1:])
    try:
        with serving(machine_nix, tmp_path / "log", image.descriptor) as lines:
            name = lines[0].split(" ")[0]
            source = ("copy", "--src-tls-verify=false", f"docker://{name}")
            assert 0 != engines.skopeo(*source, f"dir:{tmp_path}/copy", check=False).returncode
    finally:
        machine_nix.run("nix-store", "--delete", image.paths[1])
    assert f"are not those that Nix registered: {image.paths[1]}" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_signals_end_it_with_success(
    machine_nix: Nix, image: StoreImage, number: signal.Signals
) -> None:
    """To be ended is what it waits for."""
    with subprocess.Popen(
        dies_with_parent(nixoci_command("serve", image.descriptor)),
        env=nixoci_environment(machine_nix),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        os.kill(process.pid, number)
        assert (0, b"") == (process.wait(timeout=20), process.stderr.read())


@pytest.mark.parametrize("compression", ("none", "gzip"))
def test_conformance(machine_nix: Nix, compression: str, tmp_path: Path) -> None:
    """The suite of the distribution specification, in its read-only set-up, finds no fault."""
    compressed = None if compression == "none" else Compression.create(compression)
    image = write_store_image(
        machine_nix, tmp_path / "image", data={"small": b"small"}, compression=compressed
    )
    with serving(machine_nix, tmp_path / "log", image.descriptor) as lines:
        digest = image.document["digest"]
        # It reports, and then fails to write the same to a file if nothing was to be pushed.
        report = run(
            [conformance_suite()],
            check=False,
            cwd=tmp_path,
            env={
                "OCI_VERSION": "1.1",
                "OCI_REGISTRY": lines[0].partition("/")[0],
                "OCI_TLS": "disabled",
                "OCI_REPO1": "acme/api",
                "OCI_RESULTS_DIR": str(tmp_path / "results"),
                **{
                    f"OCI_API_{name}": "false"
                    for name in ("PUSH", "BLOBS_DELETE", "MANIFESTS_DELETE", "TAGS_DELETE")
                },
                "OCI_API_BLOBS_DIGEST_HEADER": "true",
                "OCI_RO_DATA_TAGS": "1.0 latest",
                "OCI_RO_DATA_MANIFESTS": digest,
                "OCI_RO_DATA_BLOBS": " ".join((image.document["configDigest"], *image.layers)),
                "OCI_RO_DATA_REFERRERS": digest,
            },
        ).stdout
    found = dict(re.findall(r"^ +(\w[\w ]*\w)\.*: +(\w+)$", report, re.MULTILINE))
    assert ("0", "0", "0") == tuple(found[name] for name in ("FAIL", "Error", "Skip")), report
    assert int(found["Pass"]) >= 20
    apis = ("Tag listing", "Blob get", "Blob head", "Referrers", "Ping", "Read Only Inputs")
    apis += tuple(f"Manifest {method} by {key}" for method in ("get", "head") for key in ("digest", "tag"))
    assert {name: "Pass" for name in apis} == {name: found.get(name) for name in apis}
