"""What registries, their users and the environment say: names, challenges, credentials, answers."""

from __future__ import annotations

import base64
import json
import os
import ssl
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Sequence

import pytest
from nixoci.image.reference import Reference
from nixoci.registry.address import (
    Origin,
    Url,
    is_loopback,
    parse_url,
    registry_origin,
    resolve_location,
    split_reference,
)
from nixoci.registry.auth.authorization import Authorization
from nixoci.registry.auth.credentials import Credentials
from nixoci.registry.auth.helper import parse_answer
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.blob_homes import BlobHomes
from nixoci.registry.http.answers import failure
from nixoci.registry.http.exchange import Answer
from nixoci.registry.http.proxy import proxy_of
from nixoci.registry.http.retry import parse_retry_after
from nixoci.registry.server.server import parse_listen_address
from nixoci.registry.settings import Registries

from tests.nixoci.fuzz.fuzz import fuzz, mutations

_TLS = ssl.create_default_context()
_SEEDS = range(2)


def assert_connectable(origin: Origin) -> None:
    """What connects takes a host and a port without an error of its own."""
    assert 0 < origin.port < 65536
    origin.host.encode("idna")
    HTTPConnection(origin.host, origin.port)
    _TLS.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=origin.host)
    assert parse_url(f"{origin.scheme}://{origin}/") == Url(origin, "/")


@pytest.mark.parametrize("seed", _SEEDS)
def test_references(seed: int) -> None:
    def parse(data: bytes) -> None:
        reference = Reference.parse(os.fsdecode(data))
        registry, repository = split_reference(reference)
        assert repository and str(reference).isascii()
        assert_connectable(registry_origin(registry, "https"))

    corpus = (
        *(b"ghcr.io/acme/api:1.2", b"localhost:5000/a", b"[::1]:5000/a/b:latest", b"api"),
        *(
            b"Host/a:1",
            b"127.0.0.1:80/a_b",
            b"a.b-c.example:65535/a.b/c--d:x",
            b"[fe80::1.2.3.4]/a",
        ),
    )
    fuzz(parse, corpus, seed)


@pytest.mark.parametrize("seed", _SEEDS)
def test_locations(seed: int) -> None:
    bases = [Url(Origin(scheme, "host.example", 5000), "/v2/a?x=y") for scheme in ("http", "https")]

    def parse(data: bytes) -> None:
        for base in bases:
            url = resolve_location(base, data.decode("latin-1"))
            if url is not None:
                assert_connectable(url.origin)
                assert base.origin.scheme == "http" or url.origin.scheme == "https"
                HTTPConnection("host")._validate_path(url.target)  # type: ignore[attr-defined]

    corpus = (
        *(b"https://host.example/v2/x?a=b#c", b"//other.example:5/x", b"../uploads/ID?state=%2F"),
        *(b"http://[::1]:80/x", b"?a=b", b"x/y", b"http://host.example:5000/", b"https://a.b:443"),
    )
    fuzz(parse, corpus, seed, expected=())


@pytest.mark.parametrize("seed", _SEEDS)
def test_proxies(seed: int) -> None:
    origins = (Origin("https", "host.example", 443), Origin("http", "::2", 5000))

    def parse(data: bytes) -> None:
        value = os.fsdecode(data)
        for origin in origins:
            for environment in ({"all_proxy": value}, {"ALL_PROXY": "p:1", "NO_PROXY": value}):
                proxy = proxy_of(origin, environment)
                if proxy is not None:
                    assert_connectable(Origin("http", proxy.host, proxy.port))
                    connection = HTTPConnection(proxy.host, proxy.port)
                    connection.putrequest("GET", "/")
                    for name, header in proxy.headers.items():
                        connection.putheader(name, header)

    corpus = (
        *(
            b"http://proxy.example:3128",
            b"http://user:p%40ss@proxy:1/",
            b"proxy",
            b"http://[::1]:1",
        ),
        *("http://bücher.example:80".encode(), b"http://u:\xff@proxy", b"*", b".example,host:443"),
        *(b"10.0.0.0/8 ::/0,[::2]:5000", b"*.example:443"),
    )
    fuzz(parse, corpus, seed)


def _answer(
    status: int, header: str = "", body: bytes = b"", name: str = "WWW-Authenticate"
) -> Answer:
    headers = Message()
    headers[name] = header
    return Answer(Url(Origin("http", "127.0.0.1", 1), "/"), status, "", headers, body)


_CHALLENGES = (
    *(
        b'Basic realm="x"',
        b"Negotiate YWJj==, Basic realm=x",
        b'Bearer realm="http://[::1]:1/token"',
    ),
    b'BEARER Realm = "https://a.example/token?a=b" ,, service="a, b",scope="r:x:pull,push"',
)
_CREDENTIALS = (
    None,
    Credentials("user", "password"),
    Credentials("", identity_token="token"),
    Credentials("user", "password", "token"),
)


@pytest.mark.parametrize("credentials", _CREDENTIALS, ids=str)
def test_challenges(credentials: Credentials | None) -> None:
    """Whatever it is, tokens are asked for where one can connect, and the header can be sent."""

    def ask(url: Url, method: str, headers: object, body: object) -> Answer:
        assert_connectable(url.origin)
        assert url.origin.scheme == "https" or is_loopback(url.origin.host) or credentials is None
        return _answer(200, body=b'{"token": "t"}')

    def parse(data: bytes) -> None:
        # As `http.client` has headers, each in one line.
        text = data.decode("latin-1").replace("\r", " ").replace("\n", " ")
        _header(credentials, ask, text).encode("ascii")

    fuzz(parse, _CHALLENGES, 1)


def test_tokens() -> None:
    """What token servers answer."""
    bodies: list[bytes] = []

    def parse(data: bytes) -> None:
        bodies[:] = [data]
        header = _header(
            _CREDENTIALS[1], lambda *_: _answer(200, body=bodies[0]), 'Bearer realm="https://a"'
        )
        assert header.isascii() and header.isprintable()

    corpus = (b'{"token": "abc", "expires_in": 300}', b'{"access_token": "abc"}')
    fuzz(parse, corpus, 1)


def _header(credentials: Credentials | None, ask, challenge: str) -> str:  # type: ignore[no-untyped-def]
    authorization = Authorization(
        "127.0.0.1:1",
        encrypted=False,
        credentials=credentials,
        searched=(),
        ask=ask,
        allow_plain_http=lambda host: False,
    )
    return authorization.answer_challenge(_answer(401, challenge), ("repository:a:pull",), None)[0]


def _encoded(account: bytes) -> str:
    return base64.b64encode(account).decode()


def _basic_header(credentials: Credentials) -> None:
    _header(credentials, None, "Basic") if credentials.password else None


def test_docker_configs(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    search = CredentialSearch((str(path),), {"PATH": ""})

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        found = search.find("host:5000", "acme/api")
        if found is not None:
            _basic_header(found)

    fuzz(parse, _configs(), 1, cost=10)


def _configs() -> Sequence[bytes]:
    auths = (
        {"host:5000": {"auth": _encoded(b"user:password")}},
        {"https://host:5000/v1/": {"username": "user", "password": "password"}},
        {"host:5000/acme": {"identitytoken": "token", "auth": _encoded(b"\xff:\xff")}},
    )
    documents = [json.dumps({"auths": entry}).encode() for entry in auths]
    helper = {"credHelpers": {"host:5000": "none"}, "credsStore": "none", "auths": auths[0]}
    return (
        *documents,
        json.dumps(helper).encode(),
        b'{"auths": {"host:5000": {"password": "\xed\xa0\x80"}}}',
    )


def test_answers_of_helpers() -> None:
    corpus = (
        b'{"ServerURL": "host", "Username": "user", "Secret": "secret"}',
        b'{"Username": "<token>", "Secret": "\\ud800"}',
    )
    fuzz(lambda data: _basic_header(parse_answer(data, "helper")), corpus, 1)


def test_registries_files() -> None:
    def parse(data: bytes) -> None:
        assert Registries.from_json(data).allow_plain_http("a.example") in (True, False)

    corpus = (
        b'{"registries": {"a.example:5000": {"plain_http": true}, "b": {"ca_file": "/ca.pem"}}}',
        b'{"registries": {"[::1]:5": {"client_certificate": "/a", "client_key": "/b"}}}',
    )
    fuzz(parse, corpus, 1)


def test_homes_of_blobs() -> None:
    corpus = (b'{"homes": ["a.example/b/c sha256:0", "localhost:5000/a sha256:1"]}',)
    fuzz(lambda data: BlobHomes.from_json(data).to_json(), corpus, 1)


def test_errors_of_registries() -> None:
    def parse(data: bytes) -> None:
        error = failure("host", "acme/api", "for it", _answer(404, body=data))
        assert str(error).isprintable()

    corpus = (b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no", "detail": {}}]}', b"<html>")
    fuzz(parse, corpus, 1, expected=())


def test_retry_after() -> None:
    corpus = (b"120", b"Wed, 21 Oct 2015 07:28:00 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT")
    for data in mutations(corpus, 1):
        seconds = parse_retry_after(data.decode("latin-1"), 0)
        assert seconds is None or seconds >= 0


def test_addresses_to_listen_on() -> None:
    def parse(data: bytes) -> None:
        host, port = parse_listen_address(os.fsdecode(data))
        assert host and 0 <= port < 65536

    fuzz(parse, (b"127.0.0.1:0", b"[::1]:5000", b"localhost:65535"), 1)
