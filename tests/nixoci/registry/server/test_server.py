"""Tests of `nixoci.registry.server.server` with clients of the standard library and with raw bytes."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import suppress
from typing import Any, Callable, Iterator

import pytest
from nixoci.errors import NixOciError
from nixoci.image.descriptor import Descriptor
from nixoci.image.layout import WriteLayer
from nixoci.image.manifest_format import MANIFEST_FORMATS
from nixoci.registry.server import http_handler, server
from nixoci.registry.server.served_images import serve_images
from nixoci.registry.server.server import ReadOnlyRegistry

from tests.nixoci.image.layout_support import known_image, sha256
from tests.nixoci.registry.server.server_support import (
    BIG,
    REFERENCES,
    SMALL,
    Served,
    blob,
    serving,
)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as running:
        yield running


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
        # Of a range with the last byte, nothing is known to be right before that byte.
        last = served.ask("GET", blob(BIG), Range=f"bytes={len(BIG) - 9}-")[0]
        assert (500, [error, error]) == (last.status, served.errors)
        # What lies before the fault is no more than what the whole would have brought.
        answer, content = served.ask("GET", blob(BIG), Range="bytes=0-499998")
        assert (206, BIG[:499_999]) == (answer.status, content)


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


def test_idle_connections_block_nobody(served: Served) -> None:
    """Who opens more connections than may wait loses the oldest; others are answered."""
    kept = served.connect()
    kept.request("GET", "/v2/")
    kept.getresponse().read()
    address = served.registry.server_address[:2]
    idle = [socket.create_connection(address, timeout=20) for _ in range(server.MAX_WAITING + 20)]
    try:
        for _ in range(3):
            assert BIG == served.ask("GET", blob(BIG))[1]
        # Closed by the server: the first of them, and the one before.
        assert b"" == idle[0].recv(1)
        assert b"" == idle[15].recv(1)
        assert kept.sock is not None and b"" == kept.sock.recv(1)
        idle[-1].sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle[-1].recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    finally:
        kept.close()
        for client in idle:
            client.close()


def test_half_requests_block_nobody(served: Served) -> None:
    """A request that is never finished is a connection that waits."""
    address = served.registry.server_address[:2]
    slow = [socket.create_connection(address, timeout=20) for _ in range(server.MAX_WAITING + 20)]
    try:
        for client in slow:
            with suppress(ConnectionError):
                client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: local")
        assert SMALL == served.ask("GET", blob(SMALL))[1]
        slow[-1].sendall(b"host\r\n\r\n")
        assert slow[-1].recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    finally:
        for client in slow:
            client.close()


def test_connections_that_work_are_kept() -> None:
    """Connections that wait do not cut one with an answer on its way."""
    go_on = threading.Event()

    def write_layer(recipe: Any, layer: Any, write: Callable[[memoryview], object]) -> None:
        write(memoryview(BIG)[:500_000])
        assert go_on.wait(20)
        write(memoryview(BIG)[500_000:])

    with serving(write_layer) as served:
        client = served.connect()
        client.request("GET", blob(BIG))
        answer = client.getresponse()
        first = answer.read(1000)
        address = served.registry.server_address[:2]
        idle = [socket.create_connection(address) for _ in range(server.MAX_WAITING + 20)]
        assert 200 == served.ask("GET", "/v2/")[0].status
        go_on.set()
        assert BIG == first + answer.read()
        for connection in (client, *idle):
            connection.close()


def test_too_many_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """More answers at once than the server makes are asked to be asked for later."""
    monkeypatch.setattr(server, "MAX_WORKING", 2)
    go_on = threading.Event()

    def write_layer(recipe: Any, layer: Any, write: Callable[[memoryview], object]) -> None:
        write(memoryview(SMALL)[:1])
        assert go_on.wait(20)
        write(memoryview(SMALL)[1:])

    with serving(write_layer) as served:
        clients = [served.connect() for _ in range(2)]
        answers = []
        for client in clients:
            client.request("GET", blob(SMALL))
            answers.append(client.getresponse())
        refused, content = served.ask("GET", "/v2/")
        assert (429, "1") == (refused.status, refused.headers["Retry-After"])
        assert "TOOMANYREQUESTS" == json.loads(content)["errors"][0]["code"]
        go_on.set()
        assert [SMALL, SMALL] == [answer.read() for answer in answers]
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    "header,pieces",
    (("bytes=0-0", 1), ("bytes=0-65535", 1), ("bytes=65536-65536", 2), ("bytes=5-200000", 4),
     ("bytes=-1", None), ("bytes=0-", None)),
)
def test_range_stops_where_it_ends(header: str, pieces: int | None) -> None:
    """Of a layer, no more is packed than a range needs; for its last byte that is all."""
    packed: list[int] = []

    def write_layer(recipe: Any, layer: Any, write: Callable[[memoryview], object]) -> None:
        for start in range(0, len(BIG), 1 << 16):
            packed.append(start)
            write(memoryview(BIG)[start : start + (1 << 16)])

    with serving(write_layer) as served:
        answer, content = served.ask("GET", blob(BIG), Range=header)
        first, last = map(int, answer.headers["Content-Range"][6:].partition("/")[0].split("-"))
        assert (206, BIG[first : last + 1]) == (answer.status, content)
        assert len(packed) == (pieces or len(BIG) >> 16)


@pytest.mark.parametrize("header", ("", "bytes=5-9", "bytes=1048576-1048577", "bytes=-1"))
def test_ranges_on_one_connection(served: Served, header: str) -> None:
    """What ends early leaves the connection as it was."""
    connection = served.connect()
    for _ in range(2):
        connection.request("GET", blob(BIG), headers={"Range": header} if header else {})
        assert connection.getresponse().read()
        connection.request("GET", blob(SMALL))
        assert SMALL == connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize("ending", ("close", "reset", "shutdown"))
@pytest.mark.parametrize("start", (1 << 40, (1 << 50) - 1))
def test_client_that_leaves_before_its_range(start: int, ending: str) -> None:
    """Packing stops when the client is gone, also while there is nothing to send to it."""
    stopped = threading.Event()
    started = threading.Event()

    def endless(recipe: object, layer: object, write: Callable[[memoryview], object]) -> None:
        try:
            while True:
                write(memoryview(BIG)[: 1 << 16])
                started.set()
        finally:
            stopped.set()

    known = known_image(SMALL, BIG)
    repositories = serve_images([(Descriptor(known.image, known.recipes), REFERENCES)], endless)
    object.__setattr__(repositories["acme/api"].blobs[sha256(BIG)], "size", 1 << 50)
    log: list[str] = []
    with ReadOnlyRegistry(repositories, log=log.append) as registry:
        with socket.create_connection(registry.server_address[:2], timeout=20) as client:
            head = f"GET {blob(BIG)} HTTP/1.1\r\nRange: bytes={start}-{start}\r\n\r\n"
            client.sendall(head.encode())
            assert started.wait(20)
            assert not stopped.is_set()
            if ending == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            elif ending == "shutdown":
                client.shutdown(socket.SHUT_RDWR)
        assert stopped.wait(20)
    assert ["was broken off by the client"] == [line[20:] for line in log]


@pytest.mark.parametrize("query", ("", "?artifactType=application/spdx", "?n=1&artifactType=a"))
def test_referrers(served: Served, query: str) -> None:
    """Nothing refers to an image here: an empty index, whatever its digest (OCI 1.1)."""
    for digest in (served.known.image.digest, sha256(b"other"), "sha512:" + "0" * 128):
        answer, content = served.ask("GET", f"/v2/acme/api/referrers/{digest}{query}")
        assert 200 == answer.status
        assert "application/vnd.oci.image.index.v1+json" == answer.headers["Content-Type"]
        document = json.loads(content)
        assert (2, []) == (document["schemaVersion"], document["manifests"])
        assert answer.headers["Content-Type"] == document["mediaType"]
        applied = answer.headers["OCI-Filters-Applied"]
        assert applied == ("artifactType" if "artifactType" in query else None)
        head, nothing = served.ask("HEAD", f"/v2/acme/api/referrers/{digest}{query}")
        assert (200, b"") == (head.status, nothing)


@pytest.mark.parametrize("digest", ("latest", "sha256", "sha256:", ":abc", "sha256:%61", "sha256:a:b"))
def test_referrers_of_no_digest(served: Served, digest: str) -> None:
    answer, content = served.ask("GET", f"/v2/acme/api/referrers/{digest}")
    assert (400, "DIGEST_INVALID") == (answer.status, json.loads(content)["errors"][0]["code"])


def test_referrers_of_no_repository(served: Served) -> None:
    answer, content = served.ask("GET", f"/v2/other/referrers/{sha256(b'')}")
    assert (404, "NAME_UNKNOWN") == (answer.status, json.loads(content)["errors"][0]["code"])
