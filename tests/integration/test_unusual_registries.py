"""Registries that do not do all as the distribution specification has it, and take images all the same.

The cases are those of the table in `docs/publishing.md`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable
from urllib.parse import urlsplit

import pytest
from nixoci.image.reference import Reference
from nixoci.registry.errors import PermissionDeniedError, UnexpectedAnswerError
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.lookup import Lookup
from nixoci.registry.push import PushOptions, PushResult, push
from nixoci.registry.push_blobs import MountHints
from nixoci.registry.push_result import MOUNTED, PRESENT, UNCHANGED, UPLOADED, WRITTEN

from tests.integration.support.faulty_registry import (
    Act,
    Fault,
    FaultyRegistry,
    TokenGate,
    at_path,
    faulty_registry,
    say,
    status,
    with_header,
    with_location,
    with_status,
)
from tests.integration.support.registry import Registry
from tests.nixoci.image.layout_support import KnownImage, known_image

UPLOADS = "/blobs/uploads/"
BLOBS = "/blobs/sha256:"
MANIFESTS = "/manifests/"
_FAST = PushOptions(retry=RetryPolicy(attempts=4, first_delay=0.01, longest_delay=0.05))
_DENIED = b'{"errors":[{"code":"DENIED","message":"requested access is denied"}]}'


def always(act: Act, method: str = ".*", path: str = "") -> Fault:
    return Fault(act, method, path, times=1_000)


def push_through(
    proxy: FaultyRegistry,
    known: KnownImage,
    *names: str,
    environment: dict[str, str] = {},
    options: PushOptions = _FAST,
) -> PushResult:
    references = [Reference.parse(f"{proxy.host}/{name}") for name in names or ("acme/api:1",)]
    return push(known.image, known.recipes, references, known.write_layer, environment, options)


def outcomes(result: PushResult) -> set[str]:
    return {blob.outcome for blob in result.blobs}


@pytest.fixture()
def known() -> KnownImage:
    """An image of two layers."""
    return known_image(b"small", b"large" * 100_000)


def _target(location: str) -> str:
    """Path and query."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}"


def _last(location: str) -> str:
    return _target(location).rpartition("/uploads/")[2]


@pytest.mark.parametrize(
    "change",
    (
        _target,
        lambda location: f"{_last(location)}#fragment",
        lambda location: f"../uploads/{_last(location)}",
        lambda location: f"./{_last(location)}",
        lambda location: f"../../../../..{_target(location)}",
        lambda location: f"//{urlsplit(location).netloc}{_target(location)}",
    ),
    ids=("path", "name", "parent", "dot", "root", "host"),
)
def test_relative_locations(
    plain_registry: Registry, known: KnownImage, change: Callable[[str], str]
) -> None:
    """An upload is where the registry says, relative to where it was asked for."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(with_location(change), "POST", UPLOADS))
        result = push_through(proxy, known)
        assert proxy.count("PUT", UPLOADS) == 3
    assert outcomes(result) == {UPLOADED}
    assert plain_registry.requests("PUT", "/manifests/1$")


def test_a_location_that_is_a_query(plain_registry: Registry, known: KnownImage) -> None:
    """Of one word of a query only: the path is that where the upload was asked for."""
    uploads: list[str] = []

    def query_alone(location: str) -> str:
        uploads.append(_target(location))
        return f"?upload={len(uploads) - 1}"

    def upload(path: str) -> str:
        number, _, rest = path.partition("?upload=")[2].partition("&")
        return f"{uploads[int(number)]}&{rest}"

    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(with_location(query_alone), "POST", UPLOADS))
        proxy.faults.append(always(at_path(upload), "PUT", rf"{UPLOADS}\?upload="))
        result = push_through(proxy, known)
    assert outcomes(result) == {UPLOADED}
    assert plain_registry.requests("PUT", "/manifests/1$")


def test_a_location_after_a_redirect(plain_registry: Registry, known: KnownImage) -> None:
    """It is relative to what was asked last, not first."""

    def redirect(handler) -> bool:  # type: ignore[no-untyped-def]
        return status(307, {"Location": f"/elsewhere{handler.path}"})(handler)

    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults += [
            always(redirect, "POST", "^/v2/"),
            always(_elsewhere, ".*", "^/elsewhere/"),
        ]
        result = push_through(proxy, known)
        assert proxy.count("PUT", f"^/elsewhere/v2/acme/api{UPLOADS}") == 3
    assert outcomes(result) == {UPLOADED}


def _elsewhere(handler) -> bool:  # type: ignore[no-untyped-def]
    with_location(_last)(handler)
    return at_path(lambda path: path[len("/elsewhere") :])(handler)


def test_a_location_without_a_scheme_on_another_host(
    plain_registry: Registry, known: KnownImage
) -> None:
    """Only the registry itself gets what is secret, however another host is named."""
    gate = TokenGate()
    directory = plain_registry.log.parent / "docker"
    with faulty_registry(plain_registry.host) as other:
        with faulty_registry(plain_registry.host, gate=gate) as proxy:
            replace(plain_registry, host=proxy.host).write_docker_config(directory)
            elsewhere = with_location(lambda location: f"//{other.host}{_target(location)}")
            proxy.faults.append(always(elsewhere, "POST", UPLOADS))
            environment = {"DOCKER_CONFIG": str(directory)}
            result = push_through(proxy, known, environment=environment)
            assert "Authorization" in proxy.requests[-1].headers
    assert outcomes(result) == {UPLOADED}
    assert other.count("PUT", UPLOADS) == 3
    for request in other.requests:
        assert "Authorization" not in request.headers and "secret-token" not in str(request)


@pytest.mark.parametrize("code", (400, 403, 405, 501))
def test_no_head_of_manifests(plain_registry: Registry, known: KnownImage, code: int) -> None:
    """The manifest is fetched, so an image that is there is still left alone."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(status(code), "HEAD", MANIFESTS))
        first = push_through(proxy, known)
        assert proxy.count("GET", MANIFESTS) == 1
        again = push_through(proxy, known)
        lookup = Lookup({})
        try:
            lacking = lookup.lacking(
                known.image,
                [item.layer for item in known.image.layers],
                [Reference.parse(f"{proxy.host}/acme/api:1")],
            )
        finally:
            lookup.close()
    assert [tag.outcome for tag in (*first.tags, *again.tags)] == [WRITTEN, UNCHANGED]
    assert lacking.is_there and lacking.layers == ()


@pytest.mark.parametrize("method", ("HEAD", "HEAD|GET"))
def test_manifests_without_a_digest(
    plain_registry: Registry, known: KnownImage, method: str
) -> None:
    """The header is optional: what it should say follows from the manifest."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(with_header("Docker-Content-Digest", ""), method, MANIFESTS))
        push_through(proxy, known)
        again = push_through(proxy, known)
    assert [tag.outcome for tag in again.tags] == [UNCHANGED]


def test_a_manifest_without_a_digest_of_which_a_part_is_read(
    plain_registry: Registry, known: KnownImage
) -> None:
    """What has more bytes than a manifest is likely to have is not read to its end, and tells nothing."""

    def say_little(handler) -> bool:  # type: ignore[no-untyped-def]
        return with_status(200)(handler) and with_header("Docker-Content-Digest", "")(handler)

    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults += [
            always(status(200, {}, b" " * 1_000_000), "HEAD|GET", MANIFESTS),
            always(say_little, "PUT", MANIFESTS),
        ]
        result = push_through(proxy, known)
    assert [tag.outcome for tag in result.tags] == [WRITTEN]


@pytest.mark.parametrize("code", (400, 403, 405))
def test_no_way_to_ask_for_manifests(
    plain_registry: Registry, known: KnownImage, code: int
) -> None:
    """A registry that denies what it lacks, or lets one only write: the tag is written."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(status(code), "HEAD|GET", MANIFESTS))
        for _ in range(2):
            result = push_through(proxy, known)
            assert [tag.outcome for tag in result.tags] == [WRITTEN]
    assert outcomes(result) == {PRESENT}


@pytest.mark.parametrize("code", (400, 403, 405, 501))
def test_no_head_of_blobs(plain_registry: Registry, known: KnownImage, code: int) -> None:
    """What a registry does not tell about is uploaded."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(status(code), "HEAD", BLOBS))
        result = push_through(proxy, known)
    assert outcomes(result) == {UPLOADED}
    assert plain_registry.requests("PUT", "/manifests/1$")


def test_a_user_who_may_do_nothing(plain_registry: Registry, known: KnownImage) -> None:
    """Status 403 for everything is still said as what it is, and nothing is tried again."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(status(403, {}, _DENIED)))
        with pytest.raises(PermissionDeniedError, match="write to the repository acme/api.*DENIED"):
            push_through(proxy, known)
        assert proxy.count("POST") <= 3


@pytest.mark.parametrize("code", (200, 201, 202, 204))
@pytest.mark.parametrize("method,path", (("POST", UPLOADS), ("PUT", UPLOADS), ("PUT", MANIFESTS)))
def test_good_answers(
    plain_registry: Registry, known: KnownImage, code: int, method: str, path: str
) -> None:
    """Any status of success is one."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(with_status(code), method, path))
        result = push_through(proxy, known)
        again = push_through(proxy, known)
    assert outcomes(result) == {UPLOADED}
    assert [tag.outcome for tag in (*result.tags, *again.tags)] == [WRITTEN, UNCHANGED]


def test_a_good_answer_without_an_upload(plain_registry: Registry, known: KnownImage) -> None:
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(status(200), "POST", UPLOADS))
        with pytest.raises(UnexpectedAnswerError, match="with a Location that is none: ''"):
            push_through(proxy, known)


def test_a_web_server_that_says_yes_to_everything(
    plain_registry: Registry, known: KnownImage
) -> None:
    """A page in place of a registry has no image, whatever status it has."""
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults += [
            always(status(200, {}, b"<html>"), "GET|PUT"),
            always(say(page), "HEAD"),
        ]
        with pytest.raises(UnexpectedAnswerError, match="status 200 OK, but has sha256:.* not sha"):
            push_through(proxy, known)


def test_a_mount_with_another_good_answer(plain_registry: Registry, known: KnownImage) -> None:
    """What a registry took over is there, and what it did not is uploaded."""
    with faulty_registry(plain_registry.host) as proxy:
        push_through(proxy, known, "acme/one:1")
        for code in (200, 204):
            proxy.faults[:] = [always(with_status(code), "POST", "mount=")]
            options = replace(_FAST, hints=MountHints((f"{proxy.host}/acme/one",)))
            result = push_through(proxy, known, f"acme/mounted{code}:1", options=options)
            assert outcomes(result) == {MOUNTED}
            options = replace(_FAST, hints=MountHints((f"{proxy.host}/acme/nothing",)))
            result = push_through(proxy, known, f"acme/uploaded{code}:1", options=options)
            assert outcomes(result) == {UPLOADED}


@pytest.mark.parametrize("code", (400, 403, 404, 405, 500, 503))
def test_no_mounts(plain_registry: Registry, known: KnownImage, code: int) -> None:
    """Where a registry does not mount, blobs are uploaded, and mounting is not tried again."""
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(always(status(code), "POST", "mount="))
        options = replace(_FAST, hints=MountHints((f"{proxy.host}/acme/one",)))
        result = push_through(proxy, known, options=options)
        assert proxy.count("POST", "mount=") == 3
    assert outcomes(result) == {UPLOADED}
