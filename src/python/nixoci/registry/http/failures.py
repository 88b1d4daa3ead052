"""From what Python raises about a connection to what a user should read."""

from __future__ import annotations

import http.client
import re
import socket
import ssl

from nixoci.registry.address import Url, is_loopback
from nixoci.registry.errors import (
    ConnectionFailedError,
    RegistryError,
    TlsRefusedError,
    UntrustedCertificateError,
    WrongProtocolError,
    printable,
)
from nixoci.registry.http.deadlines import EndlessAnswerError

#: What OpenSSL says when the other side does not speak TLS; the word depends on its version.
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
}


#: Where the sides find no common way, or one does not take the other's certificate; the word depends on
#: the version of OpenSSL.
_TLS_REFUSALS = re.compile(
    "ALERT_(HANDSHAKE_FAILURE|PROTOCOL_VERSION|INSUFFICIENT_SECURITY|UNRECOGNIZED_NAME|ACCESS_DENIED"
    "|(NO|BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_.*|UNKNOWN_CA|NO_APPLICATION_PROTOCOL)"
    "|UNRECOGNIZED_NAME|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE|DH_KEY_TOO_SMALL"
    "|UNSAFE_LEGACY_RENEGOTIATION_DISABLED"
)

#: Newer versions of Python count some of what an answer may have any number of, and end it before we do.
_TOO_MANY = re.compile(r"got more than \d+ (interim responses|trailers|headers)")

#: Answers of a proxy to CONNECT that stay the same: it wants another account, or does not let one there.
_PROXY_REFUSALS = re.compile(r"Tunnel connection failed: (400|401|403|405|407)\b")


def connection_failure(url: Url, error: Exception, spoken_to: str = "") -> RegistryError:
    """Returns the error that an exception of `socket`, `ssl` or `http.client` stands for.

    :param spoken_to: the host that the connection was to be made to, which is perhaps a proxy.
    """
    registry = str(url.origin)
    if isinstance(error, ssl.SSLCertVerificationError):
        return UntrustedCertificateError(registry, printable(error.verify_message))
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return WrongProtocolError(registry, speaks_tls=False)
    if isinstance(error, ssl.SSLError) and _TLS_REFUSALS.search(error.reason or ""):
        return TlsRefusedError(registry, (error.reason or "").lower().replace("_", " "))
    if isinstance(error, http.client.BadStatusLine) and "\x15\x03" in str(error):
        return WrongProtocolError(registry, speaks_tls=True)
    spoken_to = spoken_to or url.origin.host
    why = _explain(error)
    if spoken_to != url.origin.host and isinstance(error, (socket.gaierror, ConnectionRefusedError)):
        why = f"of its proxy {printable(spoken_to, 80)}, {why}"
    return ConnectionFailedError(registry, why, lasting=_is_lasting(error, spoken_to))


def _is_lasting(error: Exception, spoken_to: str) -> bool:
    """Whether waiting does not help: somebody must do something first."""
    if isinstance(error, socket.gaierror):
        # A server of names that does not answer may do so later.
        return error.errno != socket.EAI_AGAIN
    if isinstance(error, ConnectionRefusedError):
        # Elsewhere there may be something between that just lost its registry.
        return is_loopback(spoken_to)
    return isinstance(error, OSError) and bool(_PROXY_REFUSALS.match(str(error)))


def _explain(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return "its name is not known, as no server of names answers"
        return "its name is not known"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it was closed without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut short"
    is_http = isinstance(error, http.client.HTTPException)
    if isinstance(error, EndlessAnswerError) or (is_http and _TOO_MANY.match(str(error))):
        return "the answer has no end"
    if is_http:
        return "the answer is not HTTP"
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return f"the proxy refused ({printable(str(error), 80)})"
    return printable(getattr(error, "strerror", None) or str(error), 120)
