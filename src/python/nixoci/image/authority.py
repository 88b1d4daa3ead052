"""Hosts and ports, as the names of images and URLs have them (RFC 3986, section 3.2)."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_AUTHORITY = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,254}))"
    r"(?::(?P<port>[0-9]{0,5}))?"
)

#: What can be looked up (RFC 1035, section 2.3.4); services in containers have underscores.
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")

_HIGHEST_PORT = 65535


def parse_authority(text: str) -> Optional[tuple[str, Optional[int]]]:
    """Parses `host`, `host:port` or `[IPv6 address]:port`.

    :returns: the host, in lower case and without brackets, and the port, if there is one; None for a name
        that no host can have, and a port that is not from 1 to 65535.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    host = (found["name"] or found["address"]).lower()
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        return None
    if found["name"]:
        return (host, port) if _NAME.fullmatch(host) else None
    from ipaddress import IPv6Address

    try:
        IPv6Address(host)
    except ValueError:
        return None
    return host, port
