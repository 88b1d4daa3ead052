"""TLS as the settings of a registry want it, and whether a server speaks it at all."""

from __future__ import annotations

import socket
import ssl

from nixoci.errors import InvalidInputError
from nixoci.registry.address import Origin
from nixoci.registry.errors import printable
from nixoci.registry.settings import RegistrySettings

_PROBE_TIME_LIMIT = 5.0


def tls_context(settings: RegistrySettings) -> ssl.SSLContext:
    """Returns a context that trusts, and presents, what the settings say.

    :raises InvalidInputError: a file of the settings cannot be read or is no such file.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if settings.skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    name, path = "ca_file", settings.ca_file
    try:
        if path:
            context.load_verify_locations(cafile=path)
        name, path = "client_certificate", settings.client_certificate
        if path:
            # An empty password, since OpenSSL would otherwise ask for one on the terminal.
            context.load_cert_chain(path, settings.client_key, password="")
    except (OSError, ValueError) as error:
        # An SSLError is an OSError too.
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInputError(f"{name} of {settings.address}", path, printable(reason)) from None
    return context


def speaks_tls(origin: Origin) -> bool:
    """Whether a server at `origin` speaks TLS; no proxy is used, nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (origin.host, origin.port)
    try:
        with socket.create_connection(address, _PROBE_TIME_LIMIT) as plain:
            with context.wrap_socket(plain, server_hostname=origin.host):
                return True
    except ssl.SSLError as error:
        # Whoever sends an alert, for example since it wants a client certificate, speaks TLS.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
