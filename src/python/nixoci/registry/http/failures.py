"""From what Python raises about a connection to what a user should read."""

from __future__ import annotations

import http.client
import socket
import ssl

from nixoci.registry.address import Url
from nixoci.registry.errors import (
    ConnectionFailedError,
    RegistryError,
    UntrustedCertificateError,
    WrongProtocolError,
    printable,
)

#: What OpenSSL says when the other side does not speak TLS; the word depends on its version.
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
}


def connection_failure(url: Url, error: Exception) -> RegistryError:
    """Returns the error that an exception of `socket`, `ssl` or `http.client` stands for."""
    registry = str(url.origin)
    if isinstance(error, ssl.SSLCertVerificationError):
        return UntrustedCertificateError(registry, printable(error.verify_message))
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return WrongProtocolError(registry, speaks_tls=False)
    if isinstance(error, http.client.BadStatusLine) and "\x15\x03" in str(error):
        return WrongProtocolError(registry, speaks_tls=True)
    return ConnectionFailedError(registry, _explain(error))


def _explain(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it was closed without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut short"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return f"the proxy refused ({printable(str(error), 80)})"
    return printable(getattr(error, "strerror", None) or str(error), 120)
