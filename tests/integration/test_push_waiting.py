"""Registries that are waited for: the user is told, and nobody waits where it does not help."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import replace
from typing import Callable, Iterator

import pytest
from nixoci.image.reference import Reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import (
    ConnectionFailedError,
    TlsRefusedError,
    UnexpectedAnswerError,
)
from nixoci.registry.http.connections import Connections
from nixoci.registry.http.retry import Notices, RetryPolicy
from nixoci.registry.push import PushOptions, push
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries, RegistrySettings

from tests.integration.support.faulty_registry import (
    Fault,
    cut,
    faulty_registry,
    status,
)
from tests.integration.support.registry import Registry
from tests.nixoci.image.layout_support import known_image


class Told:
    """Options of a push, and the lines that it tells."""

    def __init__(self, first_delay: float = 0.01, attempts: int = 4) -> None:
        self.lines: list[str] = []
        retry = RetryPolicy(attempts, first_delay, 0.05, notices=Notices(self.lines.append))
        self.options = PushOptions(retry=retry)

    def push(self, host: str, environment: dict[str, str] = {}) -> None:
        known = known_image(b"small", b"another", b"large" * 100_000)
        references = [Reference.parse(f"{host}/acme/api:1")]
        push(
            *(known.image, known.recipes, references, known.write_layer),
            environment,
            self.options,
        )


@pytest.fixture()
def told() -> Told:
    return Told()


@pytest.mark.parametrize(
    "fault,line",
    (
        (Fault(cut(1000), "PUT", "/blobs/uploads/"), "Connection reset by peer"),
        (Fault(cut(0), "HEAD"), "Connection reset by peer"),
        (Fault(status(500), "PUT", "/manifests/"), "it answers status 500 Internal Server Error"),
        (
            Fault(status(503, {"Retry-After": "7"}), "POST"),
            "it answers status 503 Service Unavailable; trying again in 0.1 s, up to 3 times",
        ),
        (Fault(status(429), "HEAD"), "it answers status 429 Too Many Requests"),
    ),
    ids=lambda value: None,
)
def test_what_is_waited_for_is_told(
    plain_registry: Registry, told: Told, fault: Fault, line: str
) -> None:
    """Which host, why, and for how long."""
    with faulty_registry(plain_registry.host, fault) as proxy:
        told.push(proxy.host)
        (found,) = told.lines
    assert found.startswith(f"{proxy.host}: {line}")
    assert "; trying again in " in found and " s in all)" in found


def test_one_line_for_all_that_waits(plain_registry: Registry, told: Told) -> None:
    """Four uploads, each with three attempts in vain, wait for the same thing."""
    fault = Fault(status(502), "POST", times=1000)
    with faulty_registry(plain_registry.host, fault) as proxy:
        with pytest.raises(UnexpectedAnswerError, match="502"):
            told.push(proxy.host)
    assert len(told.lines) == 1


def test_what_was_given_up_is_not_told(plain_registry: Registry, told: Told) -> None:
    """When one upload fails for good, connections of the others are cut; they wait for nothing."""
    faults = [
        Fault(status(413), "PUT", "/blobs/uploads/"),
        Fault(cut(10), "PUT", "/blobs/uploads/", times=1000),
    ]
    with faulty_registry(plain_registry.host, *faults) as proxy:
        with pytest.raises(UnexpectedAnswerError, match="413"):
            told.push(proxy.host)
        assert len(told.lines) <= 1


def _assert_at_once(told: Told, push_it: Callable[[], None], message: str) -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionFailedError, match=message):
        push_it()
    assert time.monotonic() - started < 2
    assert told.lines == []


def test_nothing_listens_on_this_machine() -> None:
    """Who starts a registry here knows best when it is there."""
    told = Told(first_delay=5)
    told.options = replace(told.options, retry=replace(told.options.retry, longest_delay=5.0))
    for host in ("127.0.0.1:1", "localhost:1"):
        _assert_at_once(told, lambda: told.push(host), "nothing listens there")


def test_a_proxy_that_is_not_there() -> None:
    told = Told()
    environment = {"HTTPS_PROXY": "http://127.0.0.1:1"}
    _assert_at_once(
        told,
        lambda: told.push("registry.example", environment),
        "registry.example failed: of its proxy 127.0.0.1, nothing listens there",
    )


@pytest.mark.parametrize("code,lasting", ((407, True), (403, True), (503, False)))
def test_a_proxy_that_refuses(code: int, lasting: bool) -> None:
    """It wants a password, or lets nobody there; or it has trouble that passes."""
    told = Told()
    with _listener(lambda peer: _answer(peer, f"HTTP/1.1 {code} No\r\n\r\n")) as (host, count):
        with pytest.raises(ConnectionFailedError, match=f"the proxy refused .*{code}"):
            told.push("registry.example", {"HTTPS_PROXY": f"http://{host}"})
        assert len(count) == (1 if lasting else 4)
    assert bool(told.lines) != lasting


def _answer(peer: socket.socket, text: str) -> None:
    peer.recv(4096)
    peer.sendall(text.encode())


class _listener:
    """A server that hands each connection to a function."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self.count: list[int] = []
        self.socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> tuple[str, list[int]]:
        threading.Thread(target=self._run, daemon=True).start()
        return f"127.0.0.1:{self.socket.getsockname()[1]}", self.count

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.count.append(1)
            with peer:
                try:
                    self._serve(peer)
                except OSError:
                    continue

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def test_tls_that_wants_to_know_its_clients(secure_registry: Registry) -> None:
    """A server that asks for a certificate, and gets none, says no each time."""
    told = Told()
    key = secure_registry.log.parent / "key.pem"
    assert secure_registry.certificate is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secure_registry.certificate, key)
    context.load_verify_locations(secure_registry.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    # In 1.3 the client hears of it after it has sent something, or finds the connection broken.
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def serve(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as secure:
            secure.recv(10)

    with _listener(serve) as (host, count):
        settings = RegistrySettings(host, ca_file=str(secure_registry.certificate))
        told.options = replace(told.options, registries=Registries([settings]))
        with pytest.raises(TlsRefusedError, match="`client_certificate` of the registry"):
            told.push(host)
        assert len(count) == 1
    assert told.lines == []


@pytest.fixture()
def connections() -> Iterator[Connections]:
    running = Connections({})
    yield running
    running.close()


def test_a_registry_that_was_there(connections: Connections) -> None:
    """On this machine too, what was there a moment ago may be starting again."""
    lines: list[str] = []
    waited: list[float] = []
    with _listener(
        lambda peer: _answer(peer, "HTTP/1.1 404 No\r\nConnection: close\r\n\r\n")
    ) as (host, _):
        session = Session(
            *(host, "acme/api"),
            registries=Registries([RegistrySettings(host, plain_http=True)]),
            connections=connections,
            credentials=CredentialSearch((), {}),
            retry=RetryPolicy(3, wait=waited.append, notices=Notices(lines.append)),
        )
        url = session.url("manifests/1")
        assert session.ask(url, "HEAD", (), what="").status == 404
    with pytest.raises(ConnectionFailedError, match="nothing listens there"):
        session.ask(url, "HEAD", (), what="")
    assert len([seconds for seconds in waited if seconds]) == 2
    assert [line.partition(";")[0] for line in lines] == [f"{host}: nothing listens there"]
