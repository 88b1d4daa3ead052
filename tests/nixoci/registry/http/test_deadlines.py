"""Tests of `nixoci.registry.http.deadlines`, through connections to servers that never end."""

from __future__ import annotations

import socket
import threading
import time
from typing import Callable, Optional

import pytest
from nixoci.image.reference import Reference
from nixoci.registry.address import Origin, Url
from nixoci.registry.errors import ConnectionFailedError
from nixoci.registry.http.connections import Connections
from nixoci.registry.http.deadlines import BodySender
from nixoci.registry.http.exchange import Answer, Body
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.pull import fetch_manifest
from nixoci.registry.settings import RegistrySettings

from tests.nixoci.registry.hostile_server_support import Act, listening

#: Seconds. What is sent slowly comes in less time each, and in far more time in all.
_LIMIT = 0.5
_PAUSE = 0.05
_TIMES = 60

#: Seconds, where time must make no difference, however busy the machine is.
_LONG = 60.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_EMPTY = b"Content-Length: 0\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def ask(
    port: int,
    body: Optional[Body] = None,
    *,
    method: str = "GET",
    host: str = "127.0.0.1",
    environment: dict[str, str] = {},
    limit: float = _LIMIT,
) -> Answer:
    connections = Connections(environment, silence_time_limit=limit)
    url = Url(Origin("http" if host == "127.0.0.1" else "https", host, port), "/")
    try:
        return connections.exchange(url, RegistrySettings("host.example"), method, {}, body)
    finally:
        connections.close()


def slowly(start: bytes, piece: bytes, end: bytes) -> Act:
    """Sends the piece again and again, each in time, then an end that makes a whole answer of it."""

    def act(connection: socket.socket, head: bytes) -> None:
        connection.sendall(start)
        for _ in range(_TIMES):
            time.sleep(_PAUSE)
            connection.sendall(piece)
        connection.sendall(end)
        if b"close" in start:
            connection.shutdown(socket.SHUT_WR)

    return act


def without_end(start: bytes, piece: bytes, end: bytes) -> Act:
    """Sends pieces of 10 MB in all, as fast as they are taken, and then the end."""

    def act(connection: socket.socket, head: bytes) -> None:
        connection.sendall(start + piece * (10_000_000 // len(piece)) + end)

    return act


@pytest.mark.parametrize(
    "start,piece,end",
    (
        (b"", _CONTINUE, _OK + _EMPTY),
        (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n", _OK + _EMPTY),
        (_OK + b"X: ", b"y", b"\r\n" + _EMPTY),
        (b"HTTP/1.1 200 ", b"OK", b"\r\n" + _EMPTY),
        (_OK + _CHUNKED + b"1\r\na\r\n0\r\n", b"X: y\r\n", b"\r\n"),
        (_OK + _CHUNKED + b"1;", b"extension", b"\r\na\r\n0\r\n\r\n"),
        (_OK + _CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n"),
        (_OK + b"Content-Length: %d\r\n\r\n" % _TIMES, b"a", b""),
        (_OK + b"Connection: close\r\n\r\n", b"a", b""),
    ),
    ids=(
        "continue",
        "continue-with-a-header",
        "header",
        "reason",
        "trailers",
        "extension",
        "chunks",
        "length",
        "close",
    ),
)
def test_slow_answers(start: bytes, piece: bytes, end: bytes) -> None:
    """Each byte comes in time, and the answer does not."""
    with listening(slowly(start, piece, end)) as port:
        with pytest.raises(ConnectionFailedError, match="it took too long"):
            ask(port)


@pytest.mark.parametrize(
    "start,piece,end",
    (
        (b"", _CONTINUE, _OK + _EMPTY),
        (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n", _OK + _EMPTY),
        (_OK + _CHUNKED + b"1\r\na\r\n0\r\n", b"X: y\r\n", b"\r\n"),
        (_OK + _CHUNKED, b"1;" + b"x" * 60_000 + b"\r\na\r\n", b"0\r\n\r\n"),
    ),
    ids=("continue", "continue-with-a-header", "trailers", "extensions"),
)
def test_endless_answers(start: bytes, piece: bytes, end: bytes) -> None:
    """Each line is short enough, and there is no end of them."""
    with listening(without_end(start, piece, end)) as port:
        with pytest.raises(ConnectionFailedError, match="the answer has no end"):
            ask(port, limit=_LONG)


def test_an_endless_answer_of_a_proxy() -> None:
    """To CONNECT, of which Python before 3.12 reads all headers."""
    with listening(without_end(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", b"\r\n")) as port:
        with pytest.raises(ConnectionFailedError, match="has no end|is not HTTP"):
            proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}
            ask(443, host="registry.example", environment=proxy)


def test_a_pull_ends() -> None:
    """Reading a manifest, of a registry that goes on for ever."""
    with listening(without_end(b"", _CONTINUE, _OK + _EMPTY)) as port:
        with pytest.raises(ConnectionFailedError, match="the answer has no end"):
            reference = Reference.parse(f"127.0.0.1:{port}/acme/api:1")
            fetch_manifest(reference, {}, retry=RetryPolicy(attempts=1))


def taking(size: int, pause: float, buffer: int = 1 << 18) -> Act:
    """Takes the body of a request in pieces, with a pause before each, and says that all is well.

    :param buffer: bytes that the kernel takes meanwhile.
    """

    def act(connection: socket.socket, head: bytes) -> None:
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        while length:
            time.sleep(pause)
            length -= len(connection.recv(min(size, length), socket.MSG_WAITALL)) or length
        connection.sendall(_OK + _EMPTY)

    return act


def body(pieces: int, pause: float = 0.0) -> Body:
    """Of pieces of 4 KiB, with a pause before each."""

    def stream(write: Callable[[bytes], object]) -> None:
        for _ in range(pieces):
            time.sleep(pause)
            write(bytes(4096))

    return Body(pieces * 4096, stream)


def test_an_upload_that_is_taken_slowly() -> None:
    with listening(taking(24_000, 0.1, 1 << 16)) as port:
        with pytest.raises(ConnectionFailedError, match="it took too long"):
            ask(port, body(2_000), method="PUT")


def test_pieces_that_are_taken_in_time() -> None:
    """Each of them, and not enough of them in all; without the large buffers of the kernel."""
    here, there = socket.socketpair()
    with here, there:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

        def take() -> None:
            for _ in range(_TIMES):
                time.sleep(_PAUSE)
                there.recv(4096)

        thread = threading.Thread(target=take)
        thread.start()
        sender = BodySender(_LIMIT)
        with pytest.raises(socket.timeout):
            for _ in range(_TIMES // 2):
                sender.send(here, bytes(4096))
        here.close()
        thread.join()


def test_a_body_that_is_made_slowly() -> None:
    """Store paths may have to be built first: only waiting for the other side counts."""
    with listening(taking(1 << 20, 0)) as port:
        assert ask(port, body(10, 0.3), method="PUT", limit=1.5).status == 200


def test_an_upload_of_many_portions() -> None:
    """All of them take longer than one may."""
    with listening(taking(1 << 18, 0.05)) as port:
        assert ask(port, body(3_000), method="PUT", limit=2.0).status == 200


@pytest.mark.parametrize(
    "answer",
    (
        _CONTINUE * 3 + _OK + b"Content-Length: 2\r\n\r\nab",
        _OK + _CHUNKED + b"1\r\na\r\n1;x=y\r\nb\r\n0\r\nX: y\r\n\r\n",
        _OK + b"Connection: close\r\n\r\nab",
    ),
)
def test_answers_that_end(answer: bytes) -> None:
    def act(connection: socket.socket, head: bytes) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    with listening(act) as port:
        assert ask(port, limit=_LONG).body == b"ab"
