"""Tests of `nixoci.registry`'s `address`, `proxy`, `retry`, `settings` and `errors.printable`."""

from __future__ import annotations

from email.utils import formatdate
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
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
from nixoci.registry.errors import RegistryError, printable
from nixoci.registry.http.proxy import proxy_of
from nixoci.registry.http.retry import RetryPolicy, parse_retry_after
from nixoci.registry.settings import Registries, RegistrySettings

HTTPS = Origin("https", "host.example", 443)
HTTP = Origin("http", "host.example", 80)


def test_references() -> None:
    assert split_reference(Reference("api", "1")) == ("docker.io", "library/api")
    assert split_reference(Reference("[::1]:5/a/b", "1")) == ("[::1]:5", "a/b")
    assert registry_origin("docker.io", "https").host == "registry-1.docker.io"
    assert str(registry_origin("[::1]:5", "http")) == "[::1]:5"
    assert str(registry_origin("host.example", "https")) == "host.example"


@pytest.mark.parametrize(
    "base,location,expected",
    (
        (HTTPS, "/v2/x?a=b#c", Url(HTTPS, "/v2/x?a=b")),
        (HTTPS, "?a=b", Url(HTTPS, "/v2/start?a=b")),
        (HTTPS, "https://other.example:1/x", Url(Origin("https", "other.example", 1), "/x")),
        # Behind a proxy that ends TLS.
        (HTTPS, "http://host.example/x", Url(HTTPS, "/x")),
        # From encryption to none.
        (HTTPS, "http://other.example/x", None),
        (HTTP, "https://host.example/x", Url(HTTPS, "/x")),
        # References that are relative to /v2/start?state=1.
        (HTTPS, "//other.example/x?a", Url(Origin("https", "other.example", 443), "/x?a")),
        (HTTP, "//other.example:5/x", Url(Origin("http", "other.example", 5), "/x")),
        (HTTPS, "x/y?a=%2F&b==", Url(HTTPS, "/v2/x/y?a=%2F&b==")),
        (HTTPS, "../uploads/ID", Url(HTTPS, "/uploads/ID")),
        (HTTPS, "../../../x", Url(HTTPS, "/x")),
        (HTTPS, "./a:b", Url(HTTPS, "/v2/a:b")),
        (HTTPS, "/a/../b//c", Url(HTTPS, "/b//c")),
        # Signed addresses stay as they are.
        (HTTPS, "https://host.example/a//b/../c?x=/../y", Url(HTTPS, "/a//b/../c?x=/../y")),
        (HTTPS, "//user@other.example/x", None),
        (HTTPS, "//[/x", None),
        (HTTPS, "a:b", None),
        (HTTPS, "", None),
        (HTTPS, "/x\r\nHost: other", None),
        (HTTPS, "/x y", None),
        (HTTPS, "file:///etc/passwd", None),
        (HTTPS, "https://user:password@host.example/", None),
        (HTTPS, "https://host.example:99999/", None),
        (HTTPS, "https://host.example:0/", None),
        # What no host is called.
        (HTTPS, "https://a..b/", None),
        (HTTPS, "https://.foo/", None),
        (HTTPS, f"https://{'l' * 64}.example/", None),
        (HTTPS, f"https://{'label.' * 50}example/", None),
        (HTTPS, "https://[::1::2]/", None),
        (HTTPS, "https://[host]/", None),
        (HTTPS, "https://HOST.example:/x", Url(HTTPS, "/x")),
        (HTTPS, "https://host_1.example./x", Url(Origin("https", "host_1.example.", 443), "/x")),
    ),
)
def test_locations(base: Origin, location: str, expected: Optional[Url]) -> None:
    assert resolve_location(Url(base, "/v2/start?state=1"), location) == expected


@pytest.mark.parametrize("registry", ("a..b", "host:0", "host:65536", "", "l" * 64, "[1]", "a@b"))
def test_what_is_no_registry(registry: str) -> None:
    with pytest.raises(InvalidInputError):
        registry_origin(registry, "https")


@given(st.text(max_size=60))
def test_any_location(text: str) -> None:
    """What is not refused fits into a request line, and never leaves HTTPS."""
    for location in (text, f"http://{text}", f"https://{text}"):
        url = resolve_location(Url(HTTPS, "/"), location)
        if url is not None:
            assert url.origin.scheme == "https"
            assert url.target.startswith("/") and " " not in url.target and url.target.isprintable()
        parse_url(location)


def test_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1")))
    assert not any(map(is_loopback, ("localhost.example", "128.0.0.1", "0.0.0.0", "", "::2")))


@pytest.mark.parametrize(
    "environment,expected",
    (
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, ("proxy", 3128)),
        ({"https_proxy": "proxy:3128", "HTTPS_PROXY": "http://other"}, ("proxy", 3128)),
        ({"ALL_PROXY": "http://proxy"}, ("proxy", 80)),
        ({"HTTP_PROXY": "http://proxy"}, None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "a,host.example"}, None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": ".example"}, None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "host.example:443"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "host.example:80"}, ("proxy", 1)),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "st.example,10.0.0.0/8"}, ("proxy", 1)),
        # Digits that Python takes for some, and numbers that are no ports.
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": ":²"}, ("proxy", 1)),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "host.example:٤٤٣"}, ("proxy", 1)),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "host.example:" + "4" * 5000}, ("proxy", 1)),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "\udcff/²,10.0.0.0/²"}, ("proxy", 1)),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "host.example:00443"}, None),
        ({"HTTPS_PROXY": "http://bücher.example:1"}, ("xn--bcher-kva.example", 1)),
        ({"HTTPS_PROXY": "http://[::5]:1"}, ("::5", 1)),
    ),
)
def test_proxies(environment: dict[str, str], expected: Optional[tuple[str, int]]) -> None:
    proxy = proxy_of(HTTPS, environment)
    assert (proxy and (proxy.host, proxy.port)) == expected


def test_proxies_of_addresses_and_accounts() -> None:
    environment = {"HTTPS_PROXY": "http://user:p%40ss@proxy:1", "NO_PROXY": "10.0.0.0/8"}
    assert proxy_of(Origin("https", "10.1.2.3", 443), environment) is None
    assert proxy_of(Origin("https", "127.0.0.1", 443), environment) is None
    proxy = proxy_of(HTTPS, environment)
    assert proxy is not None and proxy.headers == {"Proxy-Authorization": "Basic dXNlcjpwQHNz"}
    assert "dXNlcjpwQHNz" not in repr(proxy)
    with pytest.raises(RegistryError, match="https_proxy") as caught:
        proxy_of(HTTPS, {"HTTPS_PROXY": "socks5://user:secret@proxy"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    (
        *("http://a..b:1", "http://.foo", f"http://{'l' * 64}", "http://proxy:0", "http://proxy:65536"),
        *("http://proxy:²", "http://prox\udcffy:1", "http://ü..b", "http://\ud800@proxy", "http://[::1"),
    ),
)
def test_proxies_that_are_none(value: str) -> None:
    """Whatever the environment has there is one error, which does not show it."""
    for variable in ("https_proxy", "ALL_PROXY"):
        with pytest.raises(RegistryError, match="https_proxy .or all_proxy. is not the address"):
            proxy_of(HTTPS, {variable: value})


def test_bytes_of_accounts_at_proxies() -> None:
    """They are sent as they are, in UTF-8 or not."""
    for account, encoded in (("u:\udcff", "dTr/"), ("u:%ff", "dTr/"), ("u:é", "dTrDqQ=="), ("u", "dTo=")):
        proxy = proxy_of(HTTPS, {"HTTPS_PROXY": f"http://{account}@proxy"})
        assert proxy is not None and proxy.headers == {"Proxy-Authorization": f"Basic {encoded}"}


def test_retry_after() -> None:
    """Seconds or a date (RFC 9110, section 10.2.3); anything else counts as absent."""
    assert parse_retry_after(" 120 ", 0) == 120
    assert parse_retry_after(formatdate(1_000_100, usegmt=True), 1_000_000) == 100
    assert parse_retry_after(formatdate(999_000, usegmt=True), 1_000_000) == 0
    assert parse_retry_after("9" * 5_000, 0) == 1e9
    assert [parse_retry_after(text, 0) for text in ("-1", "soon", "", "\u0661")] == [None] * 4


@given(st.text(max_size=40))
def test_any_retry_after(text: str) -> None:
    seconds = parse_retry_after(text, 0)
    assert seconds is None or seconds >= 0


def test_delays() -> None:
    """They double, within a quarter, and neither they nor a registry's wish pass the longest."""
    waited: list[float] = []
    policy = RetryPolicy(first_delay=1, longest_delay=5, wait=waited.append)
    for attempt in range(4):
        policy.pause(attempt)
    policy.pause(0, "3")
    policy.pause(0, "3600")
    for delay, expected in zip(waited, (1, 2, 4)):
        assert 0.75 * expected <= delay <= 1.25 * expected
    assert waited[3:] == [5, 3, 5]


def test_settings() -> None:
    """They survive their file; what nobody knows or what makes no sense is refused."""
    settings = RegistrySettings("host:1", ca_file="/ca.pem")
    registries = Registries.from_json(Registries([settings]).to_json())
    assert registries.settings_of("host:1") == settings
    assert registries.settings_of("host:2") == RegistrySettings("host:2")
    for text in (
        "[]",
        '{"registries": {"a/b": {}}}',
        '{"registries": {"host name": {}}}',
        '{"registries": {"host.example": {"cafile": "x"}}}',
        '{"registries": {"host.example": {"plain_http": 1}}}',
        '{"registries": {"host.example": {"plain_http": true, "ca_file": "x"}}}',
        '{"registries": {"host.example": {"client_key": "x"}}}',
    ):
        with pytest.raises(InvalidInputError):
            Registries.from_json(text.encode())


@given(st.text(), st.integers(1, 50))
def test_printable(text: str, longest: int) -> None:
    """Whatever a registry says is one short line without control characters."""
    shown = printable(text, longest)
    assert shown.isprintable() and len(shown) <= longest + 1
