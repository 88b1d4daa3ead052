"""Where credentials go, and that none are shown, with servers that want to know and tell."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path
from typing import Any, Callable

import pytest
from nixoci.errors import NixOciError
from nixoci.image.reference import Reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import UnencryptedTokenServerError
from nixoci.registry.http.retry import Notices, RetryPolicy
from nixoci.registry.published_layers import published_layers_json
from nixoci.registry.pull import fetch_manifest
from nixoci.registry.reading.reader import RepositoryReader, reading_connections
from nixoci.registry.settings import Registries, RegistrySettings

from tests.nixoci.registry.hostile_server_support import Act, listening

_PASSWORD = "pass/word sesame"
_IDENTITY_TOKEN = "identity/sesame+token"
_TOKEN = "access-sesame-token"
_ACCOUNT = base64.b64encode(f"user:{_PASSWORD}".encode()).decode()
_ENTRIES = {"password": {"auth": _ACCOUNT}, "token": {"identitytoken": _IDENTITY_TOKEN}}
_MANIFEST = b'{"mediaType": "application/vnd.oci.image.manifest.v1+json"}'

#: In any spelling that is quoted somewhere.
_SECRETS = ("sesame", _ACCOUNT[:-2])


def answering(answer: Callable[[str], tuple[str, dict[str, str], bytes]], heads: list[str]) -> Act:
    """Answers each request with a status, headers and a body.

    :param answer: gets the head of the request and its body, in one text.
    :param heads: gets these texts.
    """

    def act(connection: socket.socket, head: bytes) -> None:
        text = head.decode()
        length = int(text.partition("Content-Length: ")[2].partition("\r\n")[0] or 0)
        text += connection.recv(length, socket.MSG_WAITALL).decode() if length else ""
        heads.append(text)
        status, headers, body = answer(text)
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return act


def challenging(realm: str) -> Callable[[str], tuple[str, dict[str, str], bytes]]:
    """A registry that has a manifest for whoever has a token of its token server."""

    def answer(request: str) -> tuple[str, dict[str, str], bytes]:
        if f"Authorization: Bearer {_TOKEN}" in request:
            return "200 OK", {}, _MANIFEST
        return "401 Unauthorized", {"WWW-Authenticate": f'Bearer realm="{realm}"'}, b""

    return answer


def give_token(request: str) -> tuple[str, dict[str, str], bytes]:
    return "200 OK", {}, json.dumps({"token": _TOKEN}).encode()


def pull(
    directory: Path, port: int, entry: Any = None, *, proxy: int = 0, settings: tuple[str, ...] = ()
) -> bytes:
    """Reads a manifest from the registry at a port of 127.0.0.1.

    :param entry: the credentials for it in docker's file; None for an anonymous user.
    :param proxy: the port of the proxy that leads to other hosts.
    :param settings: other hosts that are spoken to in plain HTTP.
    """
    auths = {} if entry is None else {f"127.0.0.1:{port}": entry}
    (directory / "config.json").write_text(json.dumps({"auths": auths}))
    return fetch_manifest(
        Reference.parse(f"127.0.0.1:{port}/acme/api:1"),
        {"DOCKER_CONFIG": str(directory), "HTTP_PROXY": f"http://127.0.0.1:{proxy}"},
        Registries(RegistrySettings(host, plain_http=True) for host in settings),
        RetryPolicy(attempts=1),
    )


@pytest.mark.parametrize("entry", ("password", "token"))
@pytest.mark.parametrize(
    "host", ("auth.example", "10.1.2.3", "127.0.0.1.example", "localhost.example:5000", "[::2]")
)
def test_credentials_go_over_plain_http_to_this_machine_only(
    tmp_path: Path, host: str, entry: str
) -> None:
    """A registry here is spoken to so by itself, and names a token server elsewhere."""
    heads: list[str] = []
    with listening(answering(give_token, heads)) as proxy:
        with listening(answering(challenging(f"http://{host}/token"), [])) as port:
            with pytest.raises(UnencryptedTokenServerError, match="plain_http") as caught:
                pull(tmp_path, port, _ENTRIES[entry], proxy=proxy)
    assert heads == [] and host in str(caught.value)


@pytest.mark.parametrize("host", ("auth.example", "auth.example:5000"))
def test_a_host_that_the_user_allowed(tmp_path: Path, host: str) -> None:
    heads: list[str] = []
    with listening(answering(give_token, heads)) as proxy:
        with listening(answering(challenging(f"http://{host}/token"), [])) as port:
            found = pull(
                tmp_path, port, _ENTRIES["password"], proxy=proxy, settings=("auth.example",)
            )
    assert found == _MANIFEST
    assert len(heads) == 1 and f"Authorization: Basic {_ACCOUNT}" in heads[0]


def test_an_anonymous_user_has_nothing_to_hide(tmp_path: Path) -> None:
    heads: list[str] = []
    with listening(answering(give_token, heads)) as proxy:
        with listening(answering(challenging("http://auth.example/token"), [])) as port:
            assert pull(tmp_path, port, proxy=proxy) == _MANIFEST
    assert len(heads) == 1 and "Authorization" not in heads[0]


@pytest.mark.parametrize("host", ("127.0.0.1", "localhost"))
def test_a_token_server_on_this_machine(tmp_path: Path, host: str) -> None:
    heads: list[str] = []
    with listening(answering(give_token, heads)) as tokens:
        with listening(answering(challenging(f"http://{host}:{tokens}/token"), [])) as port:
            assert pull(tmp_path, port, _ENTRIES["password"]) == _MANIFEST
    assert len(heads) == 1 and "Authorization" in heads[0]


@pytest.mark.parametrize("entry", (None, _ENTRIES["password"]), ids=("anonymous", "user"))
def test_a_token_of_another_thread_that_has_expired_as_well(tmp_path: Path, entry: Any) -> None:
    """Who was refused with it fetches one that nobody else has used, and only that one says what is allowed.

    Each token is good for one request. While the manifest `late` is asked for with one that is used up, somebody
    else fetches a second one, and uses it.
    """
    tokens: list[str] = []
    good: list[str] = []
    asked: list[str] = []

    def answer(request: str) -> tuple[str, dict[str, str], bytes]:
        target, sent = request.split()[1], request.partition("Bearer ")[2].partition("\r\n")[0]
        if target.startswith("/token"):
            tokens.append(f"{_TOKEN}-{len(tokens)}")
            good.append(tokens[-1])
            return "200 OK", {}, json.dumps({"token": tokens[-1]}).encode()
        name = target.rpartition("/")[2]
        asked.append(f"{name} {sent[-1:]}")
        if name == "late" and sent == tokens[0]:
            assert reader.manifest("between") == _MANIFEST
        if sent in good and name != "denied":
            good.remove(sent)
            return "200 OK", {}, _MANIFEST
        realm = f'Bearer realm="http://{reader.registry}/token"'
        return "401 Unauthorized", {"WWW-Authenticate": realm}, b""

    with listening(answering(answer, [])) as port:
        auths = {} if entry is None else {f"127.0.0.1:{port}": entry}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        environment = {"DOCKER_CONFIG": str(tmp_path)}
        connections = reading_connections(environment)
        reader = RepositoryReader(
            f"127.0.0.1:{port}/acme/api",
            connections=connections,
            credentials=CredentialSearch.of_environment(environment),
            retry=RetryPolicy(attempts=1),
        )
        for name in ("early", "late"):
            assert reader.manifest(name) == _MANIFEST
        with pytest.raises(NixOciError, match="none were found|not let this user read"):
            reader.manifest("denied")
        connections.close()
    late = ["late 0", "between 0", "between 1", "late 1", "late 2"]
    # A new token is not fetched a second time.
    assert asked == ["early ", "early 0", *late, "denied 2", "denied 3"]


def _errors(message: str) -> bytes:
    return json.dumps({"errors": [{"code": message, "message": message}]}).encode()


def _end(request: str) -> str:
    """In one line. The secret comes last, and is not cut off with what is too long to be quoted."""
    return " ".join(request.split())[-120:]


@pytest.mark.parametrize("entry", ("password", "token"))
@pytest.mark.parametrize("status", ("401 Unauthorized", "500 Oops", "403 Forbidden"))
def test_a_token_server_that_repeats_the_request(tmp_path: Path, entry: str, status: str) -> None:
    heads: list[str] = []
    echo = answering(lambda request: (status, {}, _errors(_end(request))), heads)
    with listening(echo) as tokens:
        with listening(answering(challenging(f"http://127.0.0.1:{tokens}/token"), [])) as port:
            with pytest.raises(NixOciError) as caught:
                pull(tmp_path, port, _ENTRIES[entry])
    assert "sesame" in heads[0] or _ACCOUNT in heads[0]
    assert_no_secret(caught.value)


@pytest.mark.parametrize(
    "answer",
    (
        lambda request: ("500 Oops", {}, _errors(_end(request))),
        lambda request: ("599 " + _end(request)[-40:], {}, b""),
        lambda request: (
            "307 Elsewhere",
            {"Location": "ftp:" + request.split("er ")[-1].strip()},
            b"",
        ),
        lambda request: ("307 Elsewhere", {"Location": f"http://{_TOKEN}.example:0/"}, b""),
        lambda request: ("307 Elsewhere", {"Location": f"http://{_TOKEN}.invalid/"}, b""),
        lambda request: (
            "200 OK",
            {"Docker-Content-Digest": "sha256:" + _end(request)[-40:]},
            _MANIFEST,
        ),
        lambda request: ("401 No", {"WWW-Authenticate": _end(request).rpartition(" ")[2]}, b""),
        lambda request: ("200 OK", {}, json.dumps({"mediaType": _end(request)[-40:]}).encode()),
    ),
    ids=("message", "reason", "location", "port", "host", "digest", "scheme", "manifest"),
)
def test_a_registry_that_repeats_the_request(
    tmp_path: Path, answer: Callable[[str], tuple[str, dict[str, str], bytes]]
) -> None:
    """With the token in it, wherever an error quotes what it says."""
    heads: list[str] = []
    with listening(answering(give_token, [])) as tokens:
        challenge = challenging(f"http://127.0.0.1:{tokens}/token")
        repeat = answering(lambda text: (answer if _TOKEN in text else challenge)(text), heads)
        with listening(repeat) as port:
            with pytest.raises(NixOciError) as caught:
                manifest = pull(tmp_path, port, _ENTRIES["password"])
                published_layers_json(Reference.parse("host/acme/api:1"), manifest)
    assert _TOKEN in heads[-1]
    assert_no_secret(caught.value)


def test_a_registry_that_takes_the_password_itself(tmp_path: Path) -> None:
    def answer(request: str) -> tuple[str, dict[str, str], bytes]:
        if "Authorization" in request:
            return "403 Forbidden", {}, _errors(f"{_PASSWORD} {_end(request)}")
        return "401 Unauthorized", {"WWW-Authenticate": 'Basic realm="x"'}, b""

    with listening(answering(answer, [])) as port:
        with pytest.raises(NixOciError, match="does not let this user read") as caught:
            pull(tmp_path, port, _ENTRIES["password"])
    assert_no_secret(caught.value)


def test_a_proxy_that_repeats_the_request(tmp_path: Path) -> None:
    """In the reason for which it lets nobody through."""
    heads: list[str] = []
    told: list[str] = []
    reason = answering(lambda request: ("407 " + _end(request).rpartition(": ")[2], {}, b""), heads)
    retry = RetryPolicy(attempts=2, first_delay=0, notices=Notices(told.append))
    with listening(reason) as port:
        proxy = {"HTTPS_PROXY": f"http://user:sesame%2Fsesame@127.0.0.1:{port}"}
        with pytest.raises(NixOciError, match="the proxy refused") as caught:
            fetch_manifest(Reference.parse("registry.example/a:1"), proxy, retry=retry)
    account = base64.b64encode(b"user:sesame/sesame").decode()
    assert account in heads[0]
    assert account[:-2] not in f"{caught.value}{vars(caught.value)}{told}"


def test_notices_of_waiting(tmp_path: Path) -> None:
    """They quote what a registry says, too."""
    told: list[str] = []
    retry = RetryPolicy(attempts=2, first_delay=0, notices=Notices(told.append))

    def answer(request: str) -> tuple[str, dict[str, str], bytes]:
        if "Authorization" in request:
            return "503 Later", {}, _errors(_end(request)[-50:])
        return "401 Unauthorized", {"WWW-Authenticate": 'Basic realm="x"'}, b""

    with listening(answering(answer, [])) as port:
        auths = {f"127.0.0.1:{port}": _ENTRIES["password"]}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        reference = Reference.parse(f"127.0.0.1:{port}/acme/api:1")
        with pytest.raises(NixOciError) as caught:
            fetch_manifest(reference, {"DOCKER_CONFIG": str(tmp_path)}, retry=retry)
    assert len(told) == 1 and "503" in told[0]
    assert_no_secret(caught.value, *told)


def assert_no_secret(error: NixOciError, *more: str) -> None:
    """In the message, the facts, and what else was told."""
    shown = f"{error}{vars(error)}{more}"
    assert not [secret for secret in _SECRETS if secret in shown], shown
