"""SHA-256, imported from where that takes least."""

from __future__ import annotations

# `hashlib.sha256` is the same function where there is OpenSSL, but importing `hashlib` loads a
# dozen other hashes, and a digest of a small layer takes little longer than its imports.
try:
    from _hashlib import openssl_sha256 as _sha256
except ImportError:
    from hashlib import sha256 as _sha256

#: Makes a new SHA-256, as `hashlib.sha256` does.
sha256 = _sha256
