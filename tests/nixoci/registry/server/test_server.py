"""Tests of `nixoci.registry.server.server` with clients of the standard library and with raw bytes."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from typing import Callable, Iterator

import pytest
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.image.descriptor import Descriptor
from nixoci.image.layout import WriteLayer
from nixoci.image.manifest_format import MANIFEST_FORMATS
from nixoci.image.reference import Reference
from nixoci.registry.server import http_handler
from nixoci.registry.server.served_images import local_references, serve_images
from nixoci.registry.server.server import ListenError, ReadOnlyRegistry, parse_listen_address

from tests.nixoci.image.layout_support import KnownImage, known_image, sha256

REFERENCES = (Reference("acme/api", "1.0"), Reference("ghcr.io/acme/api", "latest"))
SMALL = b"small layer"
BIG = bytes(range(256)) * 8192


class Served:
    """A running server, what it logged and which errors it reported."""

    def __init__(self, known: KnownImage, write_layer: WriteLayer | None = None) -> None:
        self.known = known
        self.log: list[str] = []
        self.errors: list[NixOciError] = []
        descriptor = Descriptor(known.image, known.recipes, REFERENCES)
        self.registry = ReadOnlyRegistry(
            serve_images([(descriptor, REFERENCES)], write_layer or known.write_layer),
            log=self.log.append,
            failed=self.errors.append,
        )

    def connect(self) -> http.client.HTTPConnection:
        host, _, port = self.registry.address.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=20)

    def ask(
        self, method: str, path: str, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self.connect()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def send(self, data: bytes) -> bytes:
        """Sends bytes and returns all that comes back until the server closes."""
        host, _, port = self.registry.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(data)
            received = b""
            while True:
                piece = client.recv(1 << 16)
                if not piece:
                    return received
                received += piece


@contextmanager
def serving(write_layer: WriteLayer | None = None) -> Iterator[Served]:
    served = Served(known_image(SMALL, BIG), write_layer)
    with served.registry:
        yield served


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as running:
        yield running


def blob(content: bytes) -> str:
    return f"/v2/acme/api/blobs/{sha256(content)}"


@pytest.mark.parametrize("name", ("1.0", "latest", "digest"))
def test_manifests(served: Served, name: str) -> None:
    """A manifest is there under every tag, of whatever registry, and its digest; HEAD is GET
    without the bytes."""
    image = served.known.image
    path = f"/v2/acme/api/manifests/{image.digest if name == 'digest' else name}"
    answer, content = served.ask("GET", path)
    head, nothing = served.ask("HEAD", path)
    assert (200, image.manifest, 200, b"") == (answer.status, content, head.status, nothing)
    for found in (answer, head):
        assert image.digest == found.headers["Docker-Content-Digest"]
        assert "application/vnd.oci.image.manifest.v1+json" == found.headers["Content-Type"]
        assert str(len(image.manifest)) == found.headers["Content-Length"]


@pytest.mark.parametrize("name", MANIFEST_FORMATS)
def test_manifests_have_their_own_media_type(name: str) -> None:
    """Clients read a manifest as what the answer calls it, for HEAD and GET."""
    format = MANIFEST_FORMATS[name]
    known = known_image(SMALL, format=format)
    served = Served(known)
    with served.registry:
        for method in ("GET", "HEAD"):
            answer, _ = served.ask(method, "/v2/acme/api/manifests/1.0")
            assert format.manifest == answer.headers["Content-Type"]
            assert known.image.digest == answer.headers["Docker-Content-Digest"]


@pytest.mark.parametrize("content", (SMALL, BIG), ids=("small", "big"))
def test_blobs(served: Served, content: bytes) -> None:
    """Layers are served whole; HEAD gives their size and packs nothing."""
    answer, received = served.ask("GET", blob(content))
    assert (200, content) == (answer.status, received)
    assert sha256(content) == answer.headers["Docker-Content-Digest"]
    before = len(served.known.written)
    head, nothing = served.ask("HEAD", blob(content))
    assert (200, b"", str(len(content))) == (head.status, nothing, head.headers["Content-Length"])
    assert before == len(served.known.written)


def test_config(served: Served) -> None:
    """The config is a blob like others."""
    image = served.known.image
    assert image.config == served.ask("GET", f"/v2/acme/api/blobs/{image.config_digest}")[1]


@pytest.mark.parametrize(
    "header,start,end",
    (("bytes=0-", 0, None), ("bytes=1000000-", 1_000_000, None), ("bytes=5-9", 5, 10),
     ("bytes=-3", -3, None)),
)
def test_ranges(served: Served, header: str, start: int, end: int | None) -> None:
    """An interrupted download is resumed with a range."""
    answer, received = served.ask("GET", blob(BIG), Range=header)
    first = start % len(BIG)
    assert (206, BIG[start:end]) == (answer.status, received)
    expected = f"bytes {first}-{first + len(received) - 1}/{len(BIG)}"
    assert expected == answer.headers["Content-Range"]


def test_range_after_the_end(served: Served) -> None:
    """The answer to such a range says how long the blob is."""
    answer, content = served.ask("GET", blob(SMALL), Range="bytes=1000-")
    assert (416, f"bytes */{len(SMALL)}") == (answer.status, answer.headers["Content-Range"])
    assert "RANGE_INVALID" == json.loads(content)["errors"][0]["code"]


def test_if_range(served: Served) -> None:
    """A range of something else than this blob is no range of it."""
    tag = served.ask("HEAD", blob(BIG))[0].headers["ETag"]
    assert 206 == served.ask("GET", blob(BIG), Range="bytes=7-", If_Range=tag)[0].status
    answer, content = served.ask("GET", blob(BIG), Range="bytes=7-", If_Range='"other"')
    assert (200, BIG) == (answer.status, content)


def test_lists(served: Served) -> None:
    """Tags and repositories are listed, in pages for who wants them."""
    everything = {"name": "acme/api", "tags": ["1.0", "latest"]}
    assert everything == json.loads(served.ask("GET", "/v2/acme/api/tags/list")[1])
    answer, content = served.ask("GET", "/v2/acme/api/tags/list?n=1")
    assert ["1.0"] == json.loads(content)["tags"]
    assert '</v2/acme/api/tags/list?n=1&last=1.0>; rel="next"' == answer.headers["Link"]
    answer, content = served.ask("GET", "/v2/acme/api/tags/list?n=1&last=1.0")
    assert (["latest"], None) == (json.loads(content)["tags"], answer.headers["Link"])
    assert {"repositories": ["acme/api"]} == json.loads(served.ask("GET", "/v2/_catalog")[1])
    assert 200 == served.ask("GET", "/v2/")[0].status


@pytest.mark.parametrize(
    "path,code",
    (
        ("/v2/other/manifests/1.0", "NAME_UNKNOWN"),
        ("/v2/acme/api/manifests/2.0", "MANIFEST_UNKNOWN"),
        (f"/v2/acme/api/manifests/{sha256(b'')}", "MANIFEST_UNKNOWN"),
        (f"/v2/acme/api/blobs/{sha256(b'')}", "BLOB_UNKNOWN"),
        ("/v2/acme/api/blobs/../../../etc/passwd", "UNSUPPORTED"),
        ("/v2/acme/api/blobs/%2e%2e%2fetc", "BLOB_UNKNOWN"),
        ("/../../etc/passwd", "UNSUPPORTED"),
        ("/", "UNSUPPORTED"),
    ),
)
def test_what_is_not_there(served: Served, path: str, code: str) -> None:
    """Everything else is a 404 with the specification's error, also for HEAD."""
    answer, content = served.ask("GET", path)
    assert (404, code) == (answer.status, json.loads(content)["errors"][0]["code"])
    head, nothing = served.ask("HEAD", path)
    assert (404, b"") == (head.status, nothing)


@pytest.mark.parametrize("method", ("POST", "PUT", "PATCH", "DELETE"))
def test_writes_are_refused(served: Served, method: str) -> None:
    """Nothing can be written, and a client with a body still gets to read why."""
    head = f"{method} /v2/acme/api/blobs/uploads/ HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"
    answer = served.send(head.encode() + b"x" * 9999)
    assert answer.startswith(b"HTTP/1.1 405 ") and b"UNSUPPORTED" in answer


def test_tls_hello(served: Served) -> None:
    """A TLS hello, which has no line in it, gets a status line at once and the end."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 500
    assert served.send(hello).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_bytes,status",
    (
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /v2/ HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /v2/ HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /v2/ HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", b"431"),
        (b"BREW /v2/ HTTP/1.1\r\n\r\n", b"501"),
    ),
)
def test_requests_that_are_none(served: Served, request_bytes: bytes, status: bytes) -> None:
    """A request beyond a limit of HTTP is refused, and its connection ends."""
    assert served.send(request_bytes).startswith(b"HTTP/1.1 " + status)


def test_keep_alive(served: Served) -> None:
    """One connection serves many requests; a body that nobody asked for ends it."""
    connection = served.connect()
    for _ in range(3):
        connection.request("GET", blob(SMALL))
        assert SMALL == connection.getresponse().read()
        connection.request("HEAD", blob(BIG))
        assert b"" == connection.getresponse().read()
    kept = connection.sock
    assert kept is not None
    connection.request("GET", "/v2/", body=b"GET /v2/_catalog HTTP/1.1\r\n\r\n")
    answer = connection.getresponse()
    assert "close" == answer.headers["Connection"]
    connection.close()


def test_slow_request_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a request byte by byte has as much time for it as who sends nothing."""
    monkeypatch.setattr(http_handler, "REQUEST_TIMEOUT", 0.3)
    with serving() as served:
        host, _, port = served.registry.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.settimeout(0.05)
            for _ in range(400):
                try:
                    client.sendall(b"G")
                    if not client.recv(1):
                        return
                except socket.timeout:
                    continue
                except ConnectionError:
                    return
            raise AssertionError("the server still waits")


def failing(error: Exception, after: int) -> WriteLayer:
    """Returns a `write_layer` that raises after so many bytes."""

    def write_layer(recipe: object, layer: object, write: Callable[[memoryview], object]) -> None:
        write(memoryview(BIG)[:after])
        raise error

    return write_layer


def test_failure_in_the_middle() -> None:
    """A layer that turns out to be wrong is cut before its end, and the error is reported."""
    error = NixOciError("/nix/store/x is not what it was")
    with serving(failing(error, 500_000)) as served:
        with pytest.raises(http.client.IncompleteRead) as raised:
            served.ask("GET", blob(BIG))
        assert len(raised.value.partial) <= 500_000
        assert [error] == served.errors
        assert any("/nix/store/x" in line for line in served.log)
        # The bytes of this range were all there, and yet nobody knew whether they are right.
        assert 500 == served.ask("GET", blob(BIG), Range="bytes=0-499999")[0].status


@pytest.mark.parametrize("error", (NixOciError("no Nix"), FileNotFoundError(2, "no program")))
def test_failure_before_the_first_byte(error: Exception) -> None:
    """What fails before there are bytes is told to the client, and the server goes on."""
    with serving(failing(error, 0)) as served:
        answer, content = served.ask("GET", blob(BIG))
        assert 500 == answer.status
        assert json.loads(content)["errors"][0]["message"] == str(served.errors[0])
        assert 200 == served.ask("GET", "/v2/")[0].status


def test_client_that_disconnects() -> None:
    """Packing stops when the client is gone, and others do not notice."""
    stopped = threading.Event()

    def endless(recipe: object, layer: object, write: Callable[[memoryview], object]) -> None:
        try:
            while True:
                write(memoryview(BIG)[: 1 << 16])
        finally:
            stopped.set()

    # A layer whose size is beyond all that is sent in this test.
    known = known_image(SMALL, BIG)
    known_blobs = serve_images([(Descriptor(known.image, known.recipes), REFERENCES)], endless)
    repository = known_blobs["acme/api"]
    big = repository.blobs[sha256(BIG)]
    object.__setattr__(big, "size", 1 << 50)
    with ReadOnlyRegistry(known_blobs) as registry:
        host, _, port = registry.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(f"GET {blob(BIG)} HTTP/1.1\r\n\r\n".encode())
            assert client.recv(1000)
        assert stopped.wait(20)
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.request("GET", "/v2/")
        assert 200 == connection.getresponse().status
        connection.close()


def test_two_clients_at_once(served: Served) -> None:
    """Clients get their layers beside each other, not one after the other."""
    first, second = served.connect(), served.connect()
    for client in (first, second):
        client.request("GET", blob(BIG))
    answers = [first.getresponse(), second.getresponse()]
    halves = [answer.read(100_000) for answer in answers]
    assert [BIG, BIG] == [half + answer.read() for half, answer in zip(halves, answers)]
    first.close()
    second.close()


def test_end_of_the_server_ends_connections() -> None:
    """A client in the middle of a layer does not keep the server alive."""
    with serving() as served:
        client = served.connect()
        client.request("GET", "/v2/")
        client.getresponse().read()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.request("GET", "/v2/")
        client.getresponse()
    client.close()


def test_log_is_one_clean_line_a_request(served: Served) -> None:
    """No client can write more than its line, or to a terminal that shows it."""
    before = len(served.log)
    served.send(b"GET /\x1b[31mred HTTP/1.0\r\n\r\n")
    assert ["GET /\\x1b[31mred 404"] == [line.rpartition(" ")[0] for line in served.log[before:]]


def test_names() -> None:
    """An image without a name has one of its digest; one name for two images is refused."""
    one, two = known_image(b"1"), known_image(b"2")
    descriptors = [Descriptor(known.image, known.recipes) for known in (one, two)]
    names = [local_references(descriptor) for descriptor in descriptors]
    assert str(names[0][0]) == f"nixoci:{one.image.digest[7:19]}"
    repositories = serve_images(zip(descriptors, names), one.write_layer)
    assert {one.image.digest, two.image.digest} == set(repositories["nixoci"].images)
    with pytest.raises(InvalidInputError, match="acme/api:1.0"):
        serve_images([(each, REFERENCES) for each in descriptors], one.write_layer)


@pytest.mark.parametrize(
    "text,expected",
    (("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:5000", ("::1", 5000)), ("host:1", ("host", 1))),
)
def test_listen_addresses(text: str, expected: tuple[str, int]) -> None:
    assert expected == parse_listen_address(text)


@pytest.mark.parametrize("text", ("", "127.0.0.1", ":80", "a:b", "a:70000", "::1:80", "a:-1", "a:٣", "a:²", "a:" + "9" * 5000))
def test_wrong_listen_addresses(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_listen_address(text)


@pytest.mark.parametrize("host", ("a..b", ".foo", "l" * 64, "\udcff", "\ud800"))
def test_names_that_no_host_has(host: str) -> None:
    with pytest.raises(ListenError, match="Cannot listen on"):
        ReadOnlyRegistry({}, listen=f"{host}:0")


def test_port_in_use(served: Served) -> None:
    """A port that another program has is an error that says so."""
    with pytest.raises(ListenError, match="in use"):
        ReadOnlyRegistry({}, listen=served.registry.address)
