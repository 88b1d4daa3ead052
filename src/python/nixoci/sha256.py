"""SHA-256, imported from where that takes least, when it is needed."""

from __future__ import annotations

import sys

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash


def sha256(data: bytes = b"") -> _Hash:
    """Makes a new SHA-256, as `hashlib.sha256` does."""
    # It is the same function where there is OpenSSL, but importing `hashlib` loads a dozen other hashes, and a
    # digest of a small layer takes little longer than its imports.
    try:
        from _hashlib import openssl_sha256 as new
    except ImportError:
        from hashlib import sha256 as new
    return new(data)


def sha256_of(data: bytes) -> str:
    """Returns the hash of some bytes, in hexadecimal digits.

    For some kilobytes: Python's own SHA-256 takes longer for each, and loads no OpenSSL, which takes some
    milliseconds.
    """
    try:
        # That a module is not there is found out anew each time, so only the name that this version has is tried.
        if sys.version_info >= (3, 12):
            from _sha2 import sha256 as new  # type: ignore[import]
        else:
            from _sha256 import sha256 as new  # type: ignore[import]
    except ImportError:
        new = sha256
    return new(data).hexdigest()
