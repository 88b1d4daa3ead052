"""TLS as the settings of a registry want it."""

from __future__ import annotations

import ssl

from nixoci.errors import InvalidInputError
from nixoci.registry.errors import printable
from nixoci.registry.settings import RegistrySettings


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
