"""Pushes to real registries: what is asked, what is sent, what a registry has afterwards."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import socketserver
import threading
from dataclasses import replace
from pathlib import Path
from typing import Iterator

import pytest
from nixoci.image.reference import Reference
from nixoci.registry.errors import (
    AuthenticationError,
    ConnectionFailedError,
    RegistryError,
    UntrustedCertificateError,
    WrongProtocolError,
)
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.progress import LineProgress
from nixoci.registry.blob_homes import read_blob_homes, write_blob_homes
from nixoci.registry.push import PushOptions, PushResult, push
from nixoci.registry.push_blobs import MountHints
from nixoci.registry.push_result import MOUNTED, PRESENT, UNCHANGED, UPLOADED, WRITTEN
from nixoci.registry.settings import Registries, RegistrySettings

from tests.integration.support import engines
from tests.integration.support.faulty_registry import Fault, faulty_registry, status
from tests.integration.support.registry import Registry, registry
from tests.nixoci.image.layout_support import KnownImage, KnownIndex, known_image, known_index, sha256

FAST = PushOptions(retry=RetryPolicy(first_delay=0.01, longest_delay=0.05))


def push_image(
    known: KnownImage | KnownIndex,
    target: Registry,
    *names: str,
    environment: dict[str, str] = {},
    options: PushOptions = FAST,
) -> PushResult:
    references = [Reference.parse(f"{target.host}/{name}") for name in names]
    return push(known.image, known.recipes, references, known.write_layer, environment, options)


def image_of(*words: str) -> KnownImage:
    return known_image(*(f"layer {word}".encode() * 999 for word in words))


def outcomes(result: PushResult) -> dict[str, int]:
    found = [blob.outcome for blob in result.blobs]
    return {outcome: found.count(outcome) for outcome in sorted(set(found))}


def marked(target: Registry) -> int:
    """How many requests there were so far."""
    return len(target.requests())


def test_first_second_and_changed_push(plain_registry: Registry) -> None:
    """Twenty layers are uploaded once; later pushes ask once a tag and send what changed."""
    words = [str(number) for number in range(20)]
    known = image_of(*words)
    first = push_image(known, plain_registry, "acme/api:1", "acme/api:2", "acme/api:3")
    assert outcomes(first) == {UPLOADED: 21}
    assert [tag.outcome for tag in first.tags] == [WRITTEN] * 3
    assert len(plain_registry.requests("PUT", "/blobs/uploads/")) == 21
    assert len(plain_registry.requests("PUT", "/manifests/")) == 3
    assert sorted(known.written) == sorted(item.layer.digest for item in known.image.layers)

    known.written.clear()
    start = marked(plain_registry)
    second = push_image(known, plain_registry, "acme/api:1", "acme/api:2", "acme/api:3")
    assert [tag.outcome for tag in second.tags] == [UNCHANGED] * 3
    assert {(request.method, request.status) for request in plain_registry.requests()[start:]} == {
        ("HEAD", 200)
    }
    assert marked(plain_registry) - start == 3
    assert (known.written, second.blobs) == ([], ())

    changed = image_of(*words[:-1], "changed")
    third = push_image(changed, plain_registry, "acme/api:1")
    assert outcomes(third) == {PRESENT: 19, UPLOADED: 2}
    assert changed.written == [changed.image.layers[-1].layer.digest]


def test_an_index(plain_registry: Registry) -> None:
    """What its images share is sent once to a registry, and the images are there before the index, in each repository."""
    shared = b"shared" * 999
    known = known_index({"linux/arm64": [shared, b"arm"], "linux/amd64": [shared, b"amd"]})
    alone = image_of("alone")
    push_image(alone, plain_registry, "acme/api:1")
    first = push_image(known, plain_registry, "acme/api:1", "acme/api:2", "acme/other:1")
    assert outcomes(first) == {MOUNTED: 5, UPLOADED: 5}
    assert sorted(known.written) == sorted(map(sha256, (shared, b"arm", b"amd")))
    assert first.digest == known.image.digest
    assert [tag.outcome for tag in first.tags] == [WRITTEN] * 3
    by_digest = [image.digest for image in known.image.images] + [known.image.digest]
    puts = [r.path.split("/")[3::2] for r in plain_registry.requests("PUT", "/manifests/")[1:]]
    assert puts == [
        *(["api", digest] for digest in by_digest),
        *(["other", digest] for digest in by_digest),
        *(["api", "1"], ["api", "2"], ["other", "1"]),
    ]
    start = marked(plain_registry)
    second = push_image(known, plain_registry, "acme/api:1", "acme/api:2", "acme/other:1")
    assert [tag.outcome for tag in second.tags] == [UNCHANGED] * 3
    assert [request.method for request in plain_registry.requests()[start:]] == ["HEAD"] * 3
    # A tag that names one of its images does not name the index, and the other way round.
    arm = known.image.images[1]
    reference = Reference.parse(f"{plain_registry.host}/acme/api:1")
    for image, recipes in ((arm, known.recipes[2:]), (known.image, known.recipes)):
        result = push(image, recipes, [reference], known.write_layer, {}, FAST)
        assert (result.digest, result.tags[0].outcome) == (image.digest, WRITTEN)
        assert {blob.outcome for blob in result.blobs} == {PRESENT}


def test_an_image_of_an_index_that_is_refused(plain_registry: Registry) -> None:
    """No index, and no tag."""
    known = known_index({"linux/arm64": [b"arm"], "linux/amd64": [b"amd"]})
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(Fault(status(403), "PUT", f"/manifests/{known.image.images[1].digest}"))
        reference = Reference.parse(f"{proxy.host}/acme/api:1")
        with pytest.raises(RegistryError):
            push(known.image, known.recipes, [reference], known.write_layer, {}, FAST)
    puts = [r.path.rpartition("/")[2] for r in plain_registry.requests("PUT", "/manifests/")]
    assert puts == [known.image.images[0].digest]


def test_one_more_tag_asks_for_no_blob(plain_registry: Registry) -> None:
    """A repository that has the image under one tag needs only the manifest for another one."""
    known = image_of("a", "b")
    push_image(known, plain_registry, "acme/api:1")
    start = marked(plain_registry)
    result = push_image(known, plain_registry, "acme/api:1", "acme/api:2")
    assert [tag.outcome for tag in result.tags] == [UNCHANGED, WRITTEN]
    methods = [request.method for request in plain_registry.requests()[start:]]
    assert methods == ["HEAD", "HEAD", "PUT"]


def test_layers_are_mounted(plain_registry: Registry) -> None:
    """Another repository of the registry gets what is known elsewhere without an upload."""
    known = image_of("a", "b")
    both = push_image(known, plain_registry, "acme/one:1", "acme/two:1")
    assert outcomes(both) == {UPLOADED: 3, MOUNTED: 3}
    sharing = image_of("a", "other")
    options = replace(
        FAST,
        hints=MountHints(
            (
                f"{plain_registry.host}/acme/absent",
                f"{plain_registry.host}/acme/one",
                "elsewhere.example/acme/one",
            )
        ),
    )
    result = push_image(sharing, plain_registry, "acme/three:1", options=options)
    assert outcomes(result) == {MOUNTED: 1, UPLOADED: 2}
    assert sharing.written == [sharing.image.layers[1].layer.digest]
    storage = plain_registry.log.parent / "storage"
    assert not list(storage.rglob("_uploads/*/data")), "an upload was left open"


def test_what_earlier_pushes_learned(plain_registry: Registry, tmp_path: Path) -> None:
    """A layer is taken over from where it went; what is known falsely costs no request more than an upload."""
    known = image_of("a", "b")
    first = push_image(known, plain_registry, "acme/old:1")
    file = str(tmp_path / "known.json")
    write_blob_homes(file, first.homes)
    layer = known.image.layers[0].layer.digest
    write_blob_homes(file, [("elsewhere.example", layer, "acme/elsewhere")])

    def requests_of(hints: MountHints, name: str, *layers: str) -> list[tuple[str, int]]:
        start = len(plain_registry.requests())
        push_image(image_of(*layers), plain_registry, name, options=replace(FAST, hints=hints))
        made = plain_registry.requests()[start:]
        return sorted((r.method, r.status) for r in made if "/blobs/" in r.path)

    plain = requests_of(MountHints(), "acme/plain:1", "c", "d")
    learned = MountHints(known=read_blob_homes(file))
    assert requests_of(learned, "acme/new:1", "c", "d") == plain
    upload = [("POST", 202), ("PUT", 201)]
    mounted = [("POST", 201)]
    # Two layers and the config.
    asked = [("HEAD", 404)] * 3
    assert requests_of(learned, "acme/mounted:1", "a", "b") == sorted(asked + mounted * 3)
    # It is not there: what was asked for is an upload then, and what was likely is not tried besides.
    digest = image_of("c").image.layers[0].layer.digest
    write_blob_homes(file, [(plain_registry.host, digest, "acme/absent")])
    likely = MountHints((), read_blob_homes(file), {digest: [f"{plain_registry.host}/acme/other"]})
    assert requests_of(likely, "acme/wrong:1", "c", "d") == plain
    # The repository itself is no place to take anything from.
    guess = MountHints(likely={digest: [f"{plain_registry.host}/acme/self", f"{plain_registry.host}/acme/new"]})
    assert requests_of(guess, "acme/self:1", "c") == sorted([("HEAD", 404)] * 2 + upload + mounted)


def test_skopeo_finds_what_was_pushed(plain_registry: Registry, tmp_path: Path) -> None:
    """The digest is that of the image, and every byte arrived."""
    known = image_of("a", "b")
    result = push_image(known, plain_registry, "acme/api:1")
    source = f"docker://{plain_registry.host}/acme/api"
    plain = "--src-tls-verify=false"
    raw = engines.skopeo("inspect", "--raw", "--tls-verify=false", f"{source}:1").stdout
    assert raw.encode() == known.image.manifest
    engines.skopeo("copy", plain, f"{source}@{result.digest}", f"dir:{tmp_path / 'copy'}")


def test_tls_and_basic_authentication(secure_registry: Registry, tmp_path: Path) -> None:
    """Credentials of docker's file open a registry whose authority was named; one handshake."""
    environment = {"DOCKER_CONFIG": str(tmp_path / "config")}
    secure_registry.write_docker_config(tmp_path / "config")
    known = image_of("a", "b")
    options = replace(FAST, registries=_trusting(secure_registry))
    for expected in (WRITTEN, UNCHANGED):
        start = marked(secure_registry)
        result = push_image(
            known, secure_registry, "api:1", "api:2", environment=environment, options=options
        )
        assert {tag.outcome for tag in result.tags} == {expected}
        statuses = [request.status for request in secure_registry.requests()[start:]]
        assert statuses.count(401) == 1
    assert statuses == [401, 200, 200]


def _trusting(target: Registry) -> Registries:
    return Registries([RegistrySettings(target.host, ca_file=str(target.certificate))])


def test_refused_users(secure_registry: Registry, tmp_path: Path) -> None:
    """A wrong password, and none at all, are one clear sentence, without the password."""
    known = image_of("a")
    options = replace(FAST, registries=_trusting(secure_registry))
    file = secure_registry.write_docker_config(tmp_path)
    document = json.loads(file.read_text())
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    # The base64 of "tester:hunter22".
    document["auths"][secure_registry.host]["auth"] = "dGVzdGVyOmh1bnRlcjIy"
    file.write_text(json.dumps(document))
    with pytest.raises(AuthenticationError, match="refuses the credentials.*docker login") as wrong:
        push_image(known, secure_registry, "api:1", environment=environment, options=options)
    assert "hunter" not in repr(vars(wrong.value)) + str(wrong.value)
    file.write_text("{}")
    with pytest.raises(AuthenticationError, match="none were found.*config.json") as none:
        push_image(known, secure_registry, "api:1", environment=environment, options=options)
    assert "\n" not in f"{wrong.value}{none.value}"
    assert not known.written


def test_wrong_protocols(secure_registry: Registry, tmp_path: Path) -> None:
    """A certificate that nobody knows, HTTP to HTTPS, HTTPS to HTTP, and nobody there at all."""
    known = image_of("a")
    with pytest.raises(UntrustedCertificateError, match="ca_file"):
        push_image(known, secure_registry, "api:1")
    plainly = Registries([RegistrySettings(secure_registry.host, plain_http=True)])
    with pytest.raises(WrongProtocolError, match="take `plain_http` out"):
        push_image(known, secure_registry, "api:1", options=replace(FAST, registries=plainly))
    with registry(tmp_path / "plain") as plain:
        # Who names an authority wants TLS, on a loopback address too.
        certificate = str(secure_registry.certificate)
        securely = Registries([RegistrySettings(plain.host, ca_file=certificate)])
        with pytest.raises(WrongProtocolError, match="does not speak HTTPS"):
            push_image(known, plain, "api:1", options=replace(FAST, registries=securely))
    with pytest.raises(ConnectionFailedError, match="nothing listens there"):
        push_image(known, Registry("127.0.0.1:1", tmp_path), "api:1")
    with pytest.raises(ConnectionFailedError, match="name is not known"):
        push_image(known, Registry("registry.invalid", tmp_path), "api:1")


def test_skipping_verification(secure_registry: Registry, tmp_path: Path) -> None:
    secure_registry.write_docker_config(tmp_path)
    settings = Registries([RegistrySettings(secure_registry.host, skip_tls_verify=True)])
    result = push_image(
        image_of("a"),
        secure_registry,
        "api:1",
        environment={"REGISTRY_AUTH_FILE": str(tmp_path / "config.json")},
        options=replace(FAST, registries=settings),
    )
    assert result.tags[0].outcome == WRITTEN


def test_lines_of_progress(plain_registry: Registry, tmp_path: Path) -> None:
    """Away from a terminal there is one line for each blob, if that is wanted."""
    known = image_of("a", "b")
    reference = Reference.parse(f"{plain_registry.host}/acme/api")
    with open(tmp_path / "lines", "w") as output:
        progress = LineProgress(output, verbose=True)
        push(known.image, known.recipes, [reference], known.write_layer, {}, FAST, progress)
    lines = (tmp_path / "lines").read_text().splitlines()
    assert len(lines) == 3 and all(line.endswith(" MB uploaded") for line in lines)


def test_through_a_proxy(secure_registry: Registry, tmp_path: Path) -> None:
    """HTTPS goes through the proxy of the environment as a tunnel, with the proxy's own account."""
    known = image_of("a")
    settings = RegistrySettings("registry.example:5000", skip_tls_verify=True)
    file = secure_registry.write_docker_config(tmp_path / "docker")
    file.write_text(file.read_text().replace(secure_registry.host, settings.address))
    options = replace(FAST, registries=Registries([settings]))
    reference = Reference.parse(f"{settings.address}/acme/api:1")
    with tunnel(secure_registry.host) as (address, heads):
        environment = {
            "DOCKER_CONFIG": str(file.parent),
            "HTTPS_PROXY": f"http://user:password@{address}",
        }
        push(known.image, known.recipes, [reference], known.write_layer, environment, options)
    assert secure_registry.requests("PUT", "/v2/acme/api/manifests/1")
    assert heads and all(head.startswith(b"CONNECT registry.example:5000 ") for head in heads)
    assert all(b"Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==" in head for head in heads)
    assert not [head for head in heads if b"\nAuthorization:" in head]


@contextlib.contextmanager
def tunnel(target: str) -> Iterator[tuple[str, list[bytes]]]:
    """Starts an HTTP proxy whose tunnels all lead to `target`; yields its address and requests."""
    host, _, port = target.partition(":")
    heads: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.request.recv(4096)
            heads.append(head)
            with socket.create_connection((host, int(port))) as upstream:
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                other = {self.request: upstream, upstream: self.request}
                while True:
                    for ready in select.select(list(other), [], [])[0]:
                        data = ready.recv(1 << 16)
                        if not data:
                            return
                        other[ready].sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", heads
        server.shutdown()
