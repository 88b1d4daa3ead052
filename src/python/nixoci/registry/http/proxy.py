"""The proxy variables of the environment: which way leads to an origin."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Mapping, Optional
from urllib.parse import unquote_to_bytes, urlsplit

from nixoci.image.authority import parse_authority
from nixoci.registry.address import Origin, is_loopback
from nixoci.registry.errors import RegistryError
from nixoci.secrets import add_secrets


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy.

    :param authorization: value of `Proxy-Authorization`; None if it asks for nothing.
    """

    host: str
    port: int
    authorization: Optional[str] = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy itself is to be told."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def proxy_of(origin: Origin, environment: Mapping[str, str]) -> Optional[Proxy]:
    """Returns the proxy that leads to `origin`; None if it is spoken to directly.

    `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` in lower or upper case, as curl and Go
    read them. Loopback addresses never have a proxy.

    :raises RegistryError: the variable is no address of an HTTP proxy.
    """
    if is_loopback(origin.host) or _is_excepted(origin, _variable(environment, "no_proxy") or ""):
        return None
    name = f"{origin.scheme}_proxy"
    value = _variable(environment, name) or _variable(environment, "all_proxy")
    if not value:
        return None
    proxy = _parse_proxy(value if "://" in value else f"http://{value}")
    if proxy is None:
        # The value may hold a password, so it is not shown.
        raise RegistryError(
            str(origin),
            f"The environment variable {name} (or all_proxy) is not the address of an HTTP proxy; "
            "it should be http://HOST:PORT.",
        )
    return proxy


def _parse_proxy(url: str) -> Optional[Proxy]:
    """Parses `http://[user[:password]@]host[:port]`; None for anything else."""
    try:
        parts = urlsplit(url)
        account, at, host = parts.netloc.rpartition("@")
        if not host.isascii():
            # Names in other alphabets have a form that the name service knows.
            name, colon, port = host.partition(":")
            host = f"{name.encode('idna').decode()}{colon}{port}"
        authority = parse_authority(host)
        username, _, password = account.partition(":")
        # In the bytes of the environment, which need not be UTF-8.
        words = [
            unquote_to_bytes(word.encode(errors="surrogateescape"))
            for word in (username, password)
        ]
    except ValueError:
        return None
    if parts.scheme != "http" or authority is None:
        return None
    authorization = None
    if at:
        encoded = base64.b64encode(b":".join(words)).decode()
        authorization = f"Basic {encoded}"
        add_secrets(encoded.rstrip("="), password, words[1].decode(errors="replace"))
    return Proxy(authority[0], authority[1] or 80, authorization)


def _variable(environment: Mapping[str, str], name: str) -> Optional[str]:
    return environment.get(name) or environment.get(name.upper())


def _is_excepted(origin: Origin, exceptions: str) -> bool:
    """Whether `no_proxy` has the host, its domain, its network, or `*`."""
    host = origin.host.lower()
    for item in exceptions.lower().replace(",", " ").split():
        name, colon, port = item.rpartition(":")
        if colon and port.isascii() and port.isdigit() and ":" not in name:
            if port.lstrip("0") != str(origin.port):
                continue
            item = name
        if item == "*" or _is_in_network(host, item):
            return True
        domain = item[1:] if item.startswith("*.") else item
        if host == domain.lstrip(".") or host.endswith(f".{domain.lstrip('.')}"):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network.strip("[]"), strict=False)
    except ValueError:
        return False
