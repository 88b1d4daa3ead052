"""Files of certificates → one bundle, for `/etc/ssl/certs` (PEM, RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import re

from nixoci.errors import InvalidInputError
from nixoci.recipe.files import FileEntry

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator

#: Where programs look for the certificates of authorities: Debian and Nix, Go, Python and curl.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

#: Where the bundle is in a store path: it is the file itself, or has the file as `cacert` of nixpkgs does.
BUNDLES_IN_PACKAGES = (
    "",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
)

#: Other names of it: of nixpkgs and OpenSSL's default directory, of Fedora.
LINKS = {
    "/etc/pki/tls/certs/ca-bundle.crt": "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem": "certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt": "ca-certificates.crt",
}

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_END = re.compile(rb"-----END ([A-Z0-9 ]+)-----")
_KINDS = (b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE")


def bundle_certificates(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Returns all certificates of some files, each once, in their order and in one form.

    What stands between certificates (names, comments) is left out.

    :param files: names, for an error, and contents.
    :raises InvalidInputError: a file has no certificate, a damaged one, or a private key.
    """
    found: dict[bytes, None] = {}
    for name, content in files:
        blocks = list(_blocks(content))
        if not blocks:
            raise InvalidInputError("file of certificates", name, "no certificate is in it (PEM)")
        for kind, body, end in blocks:
            if b"PRIVATE KEY" in kind:
                raise InvalidInputError(
                    "file of certificates", name, "a private key is in it, which everybody could read"
                )
            if kind not in _KINDS or end != kind:
                raise InvalidInputError(
                    "file of certificates", name, f"a {kind.decode()} is in it, which is no certificate"
                )
            try:
                der = base64.b64decode(b"".join(body.split()), validate=True)
            except binascii.Error:
                raise InvalidInputError(
                    "file of certificates", name, "a certificate in it is damaged"
                ) from None
            # A certificate is an ASN.1 sequence.
            if der[:1] != b"\x30":
                raise InvalidInputError(
                    "file of certificates", name, "a certificate in it is damaged"
                )
            found.setdefault(der)
    return b"".join(map(_encode, found))


def certificate_files(sha256: str, size: int) -> tuple[FileEntry, ...]:
    """Returns the bundle and its other names, as they are in the image."""
    return (
        FileEntry(BUNDLE, 0o444, sha256=sha256, size=size),
        *(FileEntry(path, 0o777, target=target) for path, target in LINKS.items()),
    )


def _blocks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yields the kind at the beginning, the body and the kind at the end of each block.

    One expression for all of that would look for an end behind each beginning.
    """
    begin = _BEGIN.search(content)
    while begin and (end := _END.search(content, begin.end())):
        yield begin[1], content[begin.end() : end.start()], end[1]
        begin = _BEGIN.search(content, end.end())


def _encode(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % b"\n".join(lines)
