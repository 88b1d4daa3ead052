"""Registries that fail: the push succeeds, or says clearly what is wrong and moves no tag."""

from __future__ import annotations

import base64
import email.utils
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.errors import NixOciError
from nixoci.image.reference import Reference
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.registry.errors import (
    AuthenticationError,
    ConnectionFailedError,
    IdentityTokenError,
    PermissionDeniedError,
    RegistryError,
    RepositoryUnknownError,
    UnexpectedAnswerError,
)
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.push import PushOptions, PushResult, push
from nixoci.registry.push_result import UPLOADED

from tests.integration.support.faulty_registry import (
    Act,
    Fault,
    FaultyRegistry,
    TokenGate,
    cut,
    faulty_registry,
    say,
    status,
    wait,
    with_header,
)
from tests.integration.support.process import run
from tests.integration.support.registry import PASSWORD, USER, Registry, registry
from tests.nixoci.image.layout_support import KnownImage, known_image

UPLOADS = "/blobs/uploads/"
_FAST = PushOptions(retry=RetryPolicy(attempts=4, first_delay=0.01, longest_delay=0.05))

_DENIED = b'{"errors":[{"code":"DENIED","message":"requested access\\u001b[31m is denied"}]}'
_NAME_UNKNOWN = b'{"errors":[{"code":"NAME_UNKNOWN","message":"not known"}]}'
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TRAILERS = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 1_000_000
)
_HTTP_DATE = email.utils.formatdate(time.time() + 3600, usegmt=True)


def push_through(
    proxy: FaultyRegistry,
    known: KnownImage,
    *names: str,
    environment: dict[str, str] = {},
    options: PushOptions = _FAST,
) -> PushResult:
    references = [Reference.parse(f"{proxy.host}/{name}") for name in names or ("acme/api:1",)]
    return push(known.image, known.recipes, references, known.write_layer, environment, options)


@pytest.fixture()
def known() -> KnownImage:
    """Layers that are larger than what sockets hold, so that an upload has a middle."""
    return known_image(b"small", b"large" * 2_000_000, b"another" * 1_000_000)


def assert_whole(plain_registry: Registry, known: KnownImage) -> None:
    """The tag is there, and after all its blobs."""
    requests = plain_registry.requests("PUT")
    done = [request for request in requests if request.status == 201]
    assert [UPLOADS in request.path for request in done] == [True] * 4 + [False]
    assert "/manifests/1" in done[-1].path


def assert_no_tag(plain_registry: Registry) -> None:
    assert not plain_registry.requests("PUT", "/manifests/")


@pytest.mark.parametrize(
    "faults",
    (
        [Fault(cut(3_000_000), "PUT", UPLOADS, times=2)],
        [Fault(cut(0), "POST", UPLOADS, times=2)],
        [Fault(cut(0), "HEAD", times=3)],
        [Fault(cut(0), "PUT", "/manifests/", times=2)],
        [Fault(status(500), times=2)],
        [Fault(status(500), "PUT", UPLOADS, times=2)],
        [Fault(status(503, {"Retry-After": "1000000"}), "PUT", UPLOADS, times=2)],
        [Fault(status(503, {"Retry-After": _HTTP_DATE}), "POST", UPLOADS, times=2)],
        [Fault(status(429, {"Retry-After": "0"}), times=3)],
        [Fault(status(502, {}, b"<html>"), "PUT", "/manifests/", times=2)],
        [Fault(wait(0.3), times=4)],
        [Fault(say(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf"), "PUT", times=2)],
        [Fault(say(b"HTTP/1.1 404 Not F"), "HEAD", times=2)],
        [Fault(say(b"\0\xff garbage\n\n"), "POST", times=2)],
        # An upload that the registry lost.
        [Fault(with_header("Location", "/v2/acme/api/blobs/uploads/0"), "POST", UPLOADS)],
    ),
    ids=lambda faults: None,
)
def test_passing_faults(
    plain_registry: Registry, known: KnownImage, faults: list[Fault]
) -> None:
    """Whatever passes is waited for: the push succeeds, and the tag comes last."""
    with faulty_registry(plain_registry.host, *faults) as proxy:
        result = push_through(proxy, known)
        assert not any(fault.times for fault in faults), "the faults happened"
    assert len(result.blobs) == 4
    assert_whole(plain_registry, known)


def always(act: Act, method: str = ".*", path: str = "") -> Fault:
    return Fault(act, method, path, times=1_000)


@pytest.mark.parametrize(
    "fault,error,message",
    (
        (always(cut(1_000_000), "PUT", UPLOADS), ConnectionFailedError, "connection to the reg"),
        (always(status(500), "POST"), UnexpectedAnswerError, "status 500 Internal Server Error"),
        (always(status(503, {"Retry-After": "9"}), "HEAD"), UnexpectedAnswerError, "status 503"),
        (always(status(429)), UnexpectedAnswerError, "status 429 Too Many Requests"),
        (always(status(413), "PUT"), UnexpectedAnswerError, "status 413"),
        (always(status(405), "POST"), UnexpectedAnswerError, "status 405 Method Not Allowed"),
        (always(status(403, {}, _DENIED), "POST"), PermissionDeniedError, "DENIED: requested"),
        (always(status(404, {}, _NAME_UNKNOWN), "POST"), RepositoryUnknownError, "has no rep"),
        (always(status(200, {}, b"<html>")), UnexpectedAnswerError, "that it has 6 bytes"),
        (always(say(b"SSH-2.0-OpenSSH\r\n")), ConnectionFailedError, "is not HTTP"),
        (always(say(b"")), ConnectionFailedError, "closed without an answer"),
        (always(with_header("Location", ""), "POST"), UnexpectedAnswerError, "with a Location"),
        (always(with_header("Location", "ftp://x/"), "POST"), UnexpectedAnswerError, "Location"),
        (always(with_header("Location", "http://a b/"), "POST"), UnexpectedAnswerError, "Location"),
        (
            always(with_header("Docker-Content-Digest", "sha256:0"), "PUT", UPLOADS),
            UnexpectedAnswerError,
            "with the digest sha256:0, not sha256:",
        ),
        (always(say(_CONTINUE * 50_000), "POST"), ConnectionFailedError, "the answer has no end"),
        (always(say(_TRAILERS), "PUT"), ConnectionFailedError, "the answer has no end"),
        (always(with_header("Location", "https://a..b/"), "POST"), UnexpectedAnswerError, "Locat"),
        (always(with_header("Location", "//host:0/x"), "POST"), UnexpectedAnswerError, "Location"),
        (always(status(307, {"Location": "/again"}), "PUT"), UnexpectedAnswerError, "redirects"),
        (always(status(302, {"Location": "/else"}), "PUT"), UnexpectedAnswerError, "302 Found"),
        (always(status(401), "HEAD"), AuthenticationError, "no way"),
    ),
    ids=lambda value: None,
)
def test_lasting_faults(
    plain_registry: Registry, fault: Fault, error: type[NixOciError], message: str
) -> None:
    """Whatever lasts is one clear sentence, in printable characters, and no tag is moved."""
    known = known_image(b"small", b"large" * 1_000_000)
    with faulty_registry(plain_registry.host, fault) as proxy:
        with pytest.raises(error, match=message) as caught:
            push_through(proxy, known)
        assert proxy.host in str(caught.value)
        assert str(caught.value).isprintable()
    assert_no_tag(plain_registry)


def test_a_refused_manifest_moves_no_tag_anywhere(plain_registry: Registry) -> None:
    """With several repositories, all of them get the manifest before any of them a tag."""
    known = known_image(b"small")
    refusal = always(status(400), "PUT", "/v2/acme/two/manifests/")
    with faulty_registry(plain_registry.host, refusal) as proxy:
        with pytest.raises(UnexpectedAnswerError, match="acme/two"):
            push_through(proxy, known, "acme/one:1", "acme/two:1")
    assert not plain_registry.requests("PUT", "/manifests/1$")


def test_a_silent_registry(plain_registry: Registry) -> None:
    """A registry that does nothing is given up after the time limit."""
    options = replace(_FAST, silence_time_limit=0.2, retry=RetryPolicy(attempts=1))
    with faulty_registry(plain_registry.host, always(wait(1.0), "PUT")) as proxy:
        with pytest.raises(ConnectionFailedError, match="took too long"):
            push_through(proxy, known_image(b"small"), options=options)


def test_altered_bytes(plain_registry: Registry) -> None:
    """Bytes that are not the recorded ones end the push: no blob, no tag, the upload given up."""
    known = known_image(b"small", b"large" * 2_000_000)
    write_layer = known.write_layer
    layer = known.image.layers[1].layer

    def write_wrong(recipe, its_layer, write) -> None:  # type: ignore[no-untyped-def]
        if its_layer != layer:
            return write_layer(recipe, its_layer, write)
        write(memoryview(b"large" * 1_000_000))
        raise LayerMismatchError(layer, None, ())

    wrong = replace(known, write_layer=write_wrong)
    reference = Reference.parse(f"{plain_registry.host}/acme/api:1")
    with pytest.raises(LayerMismatchError):
        push(wrong.image, wrong.recipes, [reference], wrong.write_layer, {}, _FAST)
    assert len(plain_registry.requests("PUT", layer.digest)) == 1, "it is never tried again"
    assert_no_tag(plain_registry)
    storage = plain_registry.log.parent / "storage"
    assert not list(storage.rglob(layer.digest.partition(":")[2]))
    # This registry has a name for uploads that includes their length, so it does not find this one.
    (deletion,) = plain_registry.requests("DELETE", UPLOADS)
    (upload,) = plain_registry.requests("PUT", layer.digest)
    assert upload.path.partition("?")[0] == deletion.path.partition("?")[0]


@pytest.mark.parametrize("how", ("location", "redirect"))
def test_uploads_on_another_host(plain_registry: Registry, how: str) -> None:
    """Where the registry sends an upload to another host, it goes there without credentials."""
    known = known_image(b"small", b"large" * 1_000_000)
    gate = TokenGate()
    with faulty_registry(plain_registry.host) as other:
        with faulty_registry(plain_registry.host, gate=gate) as proxy:

            def send_elsewhere(handler) -> bool:  # type: ignore[no-untyped-def]
                if how == "location":
                    handler.headers.replace_header("Host", other.host)
                    return True
                target = {"Location": f"http://{other.host}{handler.path}"}
                return status(307, target)(handler)

            method = "POST" if how == "location" else "PUT"
            proxy.faults.append(always(send_elsewhere, method, UPLOADS))
            result = push_through(proxy, known, environment=_login(proxy, plain_registry))
    assert [blob.outcome for blob in result.blobs] == [UPLOADED] * 3
    assert other.count("PUT", UPLOADS) == 3
    for request in other.requests:
        assert "Authorization" not in request.headers
        assert "secret-token" not in str(request)
    assert "Authorization" in proxy.requests[-1].headers


def _login(proxy: FaultyRegistry, plain_registry: Registry) -> dict[str, str]:
    directory = plain_registry.log.parent
    replace(plain_registry, host=proxy.host).write_docker_config(directory / "docker")
    return {"DOCKER_CONFIG": str(directory / "docker")}


def test_tokens_that_expire(plain_registry: Registry) -> None:
    """A token that is refused between two blobs, or in front of an upload, is fetched again."""
    known = known_image(*(b"%d" % number * 100_000 for number in range(12)))
    gate = TokenGate(uses=7, lifetime=None)
    # With more uploads at a time, others may use up a token before who has fetched it uses it once.
    options = replace(_FAST, jobs=1)
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        push_through(proxy, known, environment=_login(proxy, plain_registry), options=options)
    assert plain_registry.requests("PUT", "/manifests/1$")
    assert len(gate.scopes) > 3
    assert {tuple(scopes) for scopes in gate.scopes} == {("repository:acme/api:pull,push",)}


def test_a_token_that_is_about_to_expire_is_not_used(plain_registry: Registry) -> None:
    """A token of no lifetime is good for the request that it was fetched for, and no other."""
    gate = TokenGate(lifetime=0)
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        push_through(proxy, known_image(b"small"), environment=_login(proxy, plain_registry))
        refused = [request for request in proxy.requests if "Authorization" not in request.headers]
        assert len(refused) == 1, "only the very first request was made without a token"


def test_tokens_for_mounting(plain_registry: Registry) -> None:
    """The token for a mount may read the repository that the layer comes from."""
    known = known_image(b"small")
    gate = TokenGate()
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        environment = _login(proxy, plain_registry)
        push_through(proxy, known, "acme/one:1", "acme/two:1", environment=environment)
    wanted = ["repository:acme/one:pull", "repository:acme/two:pull,push"]
    assert wanted in gate.scopes


def test_identity_tokens(plain_registry: Registry, tmp_path: Path) -> None:
    """An identity token gets access tokens by OAuth2, in the body of a POST."""
    gate = TokenGate(identity_token="identity-sesame")
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        (tmp_path / "config.json").write_text(
            '{"auths": {"%s": {"identitytoken": "identity-sesame"}}}' % proxy.host
        )
        environment = {"DOCKER_CONFIG": str(tmp_path)}
        push_through(proxy, known_image(b"small"), environment=environment)
        assert proxy.count("POST", "^/token$") == 1


@pytest.mark.parametrize("code", (404, 405, 501))
@pytest.mark.parametrize("by_helper", (False, True))
def test_identity_tokens_that_a_token_server_has_no_use_for(
    plain_registry: Registry, tmp_path: Path, code: int, by_helper: bool
) -> None:
    """One that has no POST: whose token it is, and what to do instead."""
    gate = TokenGate(refused_posts=code)
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        environment = _identity_token(tmp_path, proxy, by_helper)
        with pytest.raises(IdentityTokenError) as caught:
            push_through(proxy, known_image(b"small"), environment=environment)
    message = str(caught.value)
    source = "docker-credential-tests" if by_helper else str(tmp_path / "config.json")
    assert f"the identity token that {source} has for it" in message
    assert f"status {code}" in message and f"docker logout {proxy.host}" in message
    assert "sesame" not in message and "secret" not in message


@pytest.mark.parametrize("by_helper", (False, True))
def test_identity_tokens_that_a_registry_has_no_use_for(
    plain_registry: Registry, tmp_path: Path, by_helper: bool
) -> None:
    """One that asks for name and password was never shown any, so it did not refuse them."""
    challenge = {"WWW-Authenticate": 'Basic realm="tests"'}
    with faulty_registry(plain_registry.host, always(status(401, challenge))) as proxy:
        environment = _identity_token(tmp_path, proxy, by_helper)
        with pytest.raises(IdentityTokenError, match="it asks for a name and a password") as caught:
            push_through(proxy, known_image(b"small"), environment=environment)
    source = "docker-credential-tests" if by_helper else str(tmp_path / "config.json")
    assert source in str(caught.value)


@pytest.mark.parametrize("by_helper", (False, True))
def test_identity_tokens_that_are_refused(
    plain_registry: Registry, tmp_path: Path, by_helper: bool
) -> None:
    """An expired one: where it is."""
    gate = TokenGate(identity_token="a newer one")
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        environment = _identity_token(tmp_path, proxy, by_helper)
        source = "by docker-credential-tests" if by_helper else f"in {tmp_path}/config.json"
        with pytest.raises(AuthenticationError, match=f"found for it {source} .its token server"):
            push_through(proxy, known_image(b"small"), environment=environment)


def test_identity_tokens_with_a_password(plain_registry: Registry, tmp_path: Path) -> None:
    """Where there is a password too, it is good for a token server that has no POST."""
    gate = TokenGate(refused_posts=404)
    account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        entry = {"auth": account, "identitytoken": "identity-sesame"}
        (tmp_path / "config.json").write_text(json.dumps({"auths": {proxy.host: entry}}))
        push_through(proxy, known_image(b"small"), environment={"DOCKER_CONFIG": str(tmp_path)})
    assert plain_registry.requests("PUT", "/manifests/1$")


def _identity_token(directory: Path, proxy: FaultyRegistry, by_helper: bool) -> dict[str, str]:
    """An environment in which a file, or a program, has one."""
    entry = {"auths": {proxy.host: {"identitytoken": "identity-sesame"}}}
    document = {"credHelpers": {proxy.host: "tests"}} if by_helper else entry
    (directory / "config.json").write_text(json.dumps(document))
    program = directory / "bin" / "docker-credential-tests"
    program.parent.mkdir()
    answer = json.dumps({"ServerURL": "", "Username": "<token>", "Secret": "identity-sesame"})
    program.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{answer}'\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"DOCKER_CONFIG": str(directory), "PATH": path}


def test_a_user_without_permission(plain_registry: Registry) -> None:
    """Who may write to one repository and not to another hears so; secrets are not told."""
    gate = TokenGate(writable="acme/.*")
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        environment = _login(proxy, plain_registry)
        with pytest.raises(PermissionDeniedError, match="not let this user.*other/api") as denied:
            push_through(proxy, known_image(b"small"), "other/api:1", environment=environment)
        with pytest.raises(AuthenticationError, match="none were found") as anonymous:
            push_through(proxy, known_image(b"small"))
    for caught in (denied, anonymous):
        shown = f"{caught.value}{vars(caught.value)}"
        assert "secret-token" not in shown and "sesame" not in shown


def test_a_full_disk(tmp_path: Path) -> None:
    """A registry whose disk is full: a clear error, and no tag."""
    disk = tmp_path / "registry" / "storage"
    disk.mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk])
    try:
        with registry(tmp_path / "registry") as full, faulty_registry(full.host) as proxy:
            with pytest.raises(RegistryError, match="status 500|connection"):
                push_through(proxy, known_image(b"small", b"large" * 2_000_000))
            assert_no_tag(full)
    finally:
        run(["umount", "--lazy", disk])


def test_the_first_failure_ends_the_others(plain_registry: Registry) -> None:
    """When one layer fails, the others stop at their next bytes, and that failure is told."""
    known = known_image(b"first" * 10, b"second" * 10)
    streaming = threading.Event()
    stopped = threading.Event()
    first = known.image.layers[0].layer

    def write_layer(recipe, layer, write) -> None:  # type: ignore[no-untyped-def]
        if layer == first:
            streaming.wait(20)
            raise LayerMismatchError(layer, None, ())
        streaming.set()
        try:
            for _ in range(4_000):
                write(memoryview(b""))
                time.sleep(0.005)
        except NixOciError:
            stopped.set()
            raise

    with faulty_registry(plain_registry.host) as proxy:
        with pytest.raises(LayerMismatchError):
            push_through(proxy, replace(known, write_layer=write_layer))
    assert stopped.is_set()
