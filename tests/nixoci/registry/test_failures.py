"""Tests of `nixoci.registry.http.failures`: what helps by waiting, and what does not."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest
from nixoci.registry.address import Origin, Url
from nixoci.registry.errors import ConnectionFailedError, TlsRefusedError
from nixoci.registry.http.failures import connection_failure

_REMOTE = Url(Origin("https", "registry.example", 443), "/")
_HERE = Url(Origin("http", "127.0.0.1", 5000), "/")


def _alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    "url,error,lasting,why",
    (
        (_HERE, ConnectionRefusedError(), True, "nothing listens there"),
        (_REMOTE, ConnectionRefusedError(), False, "nothing listens there"),
        (_REMOTE, socket.gaierror(socket.EAI_NONAME, "unknown"), True, "its name is not known"),
        (_REMOTE, socket.gaierror(socket.EAI_AGAIN, "later"), False, "no server of names answers"),
        (_REMOTE, socket.timeout(), False, "it took too long"),
        (_REMOTE, OSError(113, "No route to host"), False, "No route to host"),
        (_REMOTE, OSError("Tunnel connection failed: 407 Login"), True, "the proxy refused"),
        (_REMOTE, OSError("Tunnel connection failed: 502 Bad"), False, "the proxy refused"),
        (_REMOTE, _alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), True, "certificate required"),
        (_REMOTE, _alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), True, "handshake failure"),
        (_REMOTE, _alert("TLSV1_ALERT_PROTOCOL_VERSION"), True, "protocol version"),
        (_REMOTE, _alert("UNSUPPORTED_PROTOCOL"), True, "unsupported protocol"),
        (_REMOTE, _alert("TLSV1_ALERT_INTERNAL_ERROR"), False, ""),
        (_REMOTE, http.client.RemoteDisconnected("x"), False, "closed without an answer"),
        (_HERE, http.client.HTTPException("got more than 100 interim responses"), False, "has no end"),
        (_HERE, http.client.HTTPException("got more than 100 trailers"), False, "has no end"),
        (_HERE, http.client.BadStatusLine("got it"), False, "is not HTTP"),
    ),
    ids=lambda value: None,
)
def test_kinds(url: Url, error: Exception, lasting: bool, why: str) -> None:
    found = connection_failure(url, error)
    assert isinstance(found, ConnectionFailedError)
    assert found.lasting == lasting
    assert why in found.why and why in str(found)
    assert isinstance(found, TlsRefusedError) == (lasting and isinstance(error, ssl.SSLError))


def test_the_proxy_is_named() -> None:
    """A proxy on this machine that is not there is not the registry's fault, and lasts."""
    found = connection_failure(_REMOTE, ConnectionRefusedError(), "localhost")
    assert isinstance(found, ConnectionFailedError) and found.lasting
    assert found.why == "of its proxy localhost, nothing listens there"
