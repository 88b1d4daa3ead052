"""Where registries are: hosts, the origins of their URLs, and the Locations they send one to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Optional
from urllib.parse import urljoin, urlsplit

from nixoci.errors import InvalidInputError
from nixoci.image.authority import parse_authority
from nixoci.image.reference import Reference

#: The registry of references without one has another name on the network than in references.
DOCKER_HUB = "docker.io"
_HOST_OF_DOCKER_HUB = "registry-1.docker.io"

#: What HTTP can have in a request line; a space or a line break would end it.
_TARGET = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of a URL: what credentials are bound to (RFC 6454, section 4)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """The authority as in a `Host` header, without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Url:
    """An absolute HTTP URL.

    :param target: path and query, as in the request line.
    """

    origin: Origin
    target: str


_DEFAULT_PORTS = {"http": 80, "https": 443}


def split_reference(reference: Reference) -> tuple[str, str]:
    """Returns the registry (`host` or `host:port`) and the repository in it."""
    registry, _, rest = reference.full_name.partition("/")
    return registry, rest.rpartition(":")[0]


def registry_origin(registry: str, scheme: str) -> Origin:
    """Returns the origin that serves a registry.

    :param registry: `host`, `host:port` or `[IPv6 address]:port`, as in a valid reference.
    :raises InvalidInputError: it is none of these.
    """
    if registry in (DOCKER_HUB, f"index.{DOCKER_HUB}"):
        registry = _HOST_OF_DOCKER_HUB
    authority = parse_authority(registry)
    if authority is None:
        raise InvalidInputError("registry", registry, "expected a host name and perhaps a port")
    host, port = authority
    return Origin(scheme, host, port or _DEFAULT_PORTS[scheme])


def is_loopback(host: str) -> bool:
    """Whether packets to `host` stay on this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_url(text: str) -> Optional[Url]:
    """Parses an absolute URL that came from outside; None if it is no proper HTTP URL."""
    if not _TARGET.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    scheme = parts.scheme
    # A user name in a URL of a registry has no good use, and could be shown somewhere: it is no host.
    authority = parse_authority(parts.netloc)
    if scheme not in _DEFAULT_PORTS or authority is None:
        return None
    host, port = authority
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(Origin(scheme, host, port or _DEFAULT_PORTS[scheme]), target)


def resolve_location(base: Url, location: str) -> Optional[Url]:
    """Returns where a `Location` header points to (RFC 9110, section 10.2.2); None if nowhere.

    It may be any reference that is relative to what was asked (RFC 3986, section 5).

    A registry behind a proxy that ends TLS often believes that it is spoken to in plain HTTP and
    names itself so. From HTTPS nobody is sent back to plain HTTP: the same host is then meant to
    be spoken to as before, and another host is refused.

    :param base: what was asked, after redirects.
    """
    if not _TARGET.fullmatch(location):
        return None
    try:
        absolute = urljoin(f"{base.origin.scheme}://{base.origin}{base.target}", location)
    except ValueError:
        return None
    url = parse_url(absolute)
    if url is not None and url.origin.scheme == "http" and base.origin.scheme == "https":
        return Url(base.origin, url.target) if url.origin.host == base.origin.host else None
    return url


def with_query(target: str, query: str) -> str:
    """Returns a request target with one more part of a query."""
    return f"{target}{'&' if '?' in target else '?'}{query}"
