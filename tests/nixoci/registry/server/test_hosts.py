"""Tests of `nixoci.registry.server`: where it listens, and by which names it is asked."""

from __future__ import annotations

import http.client
from typing import Iterator

import pytest
from nixoci.errors import InvalidInputError
from nixoci.image.descriptor import Descriptor
from nixoci.registry.server.served_images import local_references, serve_images
from nixoci.registry.server.server import ListenError, ReadOnlyRegistry, parse_listen_address

from tests.nixoci.image.layout_support import known_image
from tests.nixoci.registry.server.server_support import (
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


def test_names() -> None:
    """An image without a name has one of its digest; one name for two images is refused."""
    one, two = known_image(b"1"), known_image(b"2")
    descriptors = [Descriptor(known.image, known.recipes) for known in (one, two)]
    names = [local_references(descriptor) for descriptor in descriptors]
    assert str(names[0][0]) == f"nixoci:{one.image.digest[7:19]}"
    repositories = serve_images(zip(descriptors, names), one.write_layer)
    assert {one.image.digest, two.image.digest} == set(repositories["nixoci"].manifests)
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


@pytest.mark.parametrize(
    "host",
    ("127.0.0.1", "127.0.0.1:{port}", "127.0.0.1:1", "127.1.2.3", "localhost", "LocalHost:{port}",
     "localhost.", "[::1]", "[::1]:{port}"),
)
def test_hosts_on_loopback(served: Served, host: str) -> None:
    """Names of loopback that no name server can give to another machine, whatever the port."""
    port = served.registry.server_address[1]
    assert 200 == served.ask("GET", "/v2/", Host=host.format(port=port))[0].status


@pytest.mark.parametrize(
    "host",
    ("evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example",
     "192.0.2.1", "[2001:db8::1]:{port}", "", ":{port}", "[", "evil.example:localhost", "localhost@evil.example", "127.0.0.1:80:{port}"),
)
@pytest.mark.parametrize("method", ("GET", "HEAD", "POST"))
def test_other_hosts_on_loopback(served: Served, host: str, method: str) -> None:
    """A site that lets its own name become 127.0.0.1 has a browser read nothing from here."""
    port = served.registry.server_address[1]
    before = len(served.known.written)
    answer, content = served.ask(method, blob(SMALL), Host=host.format(port=port))
    assert 421 == answer.status
    assert SMALL not in content and before == len(served.known.written)


def test_two_hosts(served: Served) -> None:
    """Of two names, one of which is right, none counts."""
    head = "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert served.send(head.encode()).startswith(b"HTTP/1.1 400 ")


def test_hosts_elsewhere() -> None:
    """A server that others reach does not know by which names they do."""
    with ReadOnlyRegistry({}, listen="0.0.0.0:0") as registry:
        connection = http.client.HTTPConnection("127.0.0.1", registry.server_address[1], timeout=20)
        connection.request("GET", "/v2/", headers={"Host": "build-7.example:80"})
        assert 200 == connection.getresponse().status
        connection.close()


class OnHostsFile(ReadOnlyRegistry):
    """A server on a name that a line of `/etc/hosts` gives to loopback."""

    def server_bind(self) -> None:
        self.server_address = ("127.0.0.1", 0)
        super().server_bind()


@pytest.mark.parametrize("host,status", (("Build-7", 200), ("localhost", 200), ("build-8", 421)))
def test_name_listened_on(host: str, status: int) -> None:
    """A server on loopback is asked by the name that it was started with, too."""
    with OnHostsFile({}, listen="build-7:0") as registry:
        connection = http.client.HTTPConnection(*registry.server_address[:2], timeout=20)
        connection.request("GET", "/v2/", headers={"Host": host})
        assert status == connection.getresponse().status
        connection.close()
