"""SHA-256 hashes in every notation that Nix prints.

Nix writes the same 32 bytes as SRI (`sha256-<base64>`), as `sha256:<52 base-32 digits>`, as
`sha256:<64 hex digits>` and, in some JSON, as an object. Inside this project there is one: SRI.
"""

from __future__ import annotations

import base64
import binascii

from nixoci.errors import InvalidInputError

#: Nix's own base-32: these digits, least significant last, bytes from the end (libutil/hash.cc).
_NIX_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"


def parse_sha256(value: object) -> bytes:
    """Returns the 32 bytes of a SHA-256 hash as found in Nix's JSON.

    :param value: SRI, `sha256:` with base-32 or hex, or the object `{"algorithm", "hash"}`.
    :raises InvalidInputError: anything else, other algorithms included.
    """
    if isinstance(value, dict):
        if value.get("algorithm") != "sha256":
            raise InvalidInputError("hash", value, "expected the algorithm sha256")
        text = value.get("hash")
        if not isinstance(text, str):
            raise InvalidInputError("hash", value, "the digits are missing")
        return parse_sha256(text if text.startswith("sha256") else f"sha256:{text}")
    if not isinstance(value, str) or value[:7] not in ("sha256-", "sha256:"):
        raise InvalidInputError("hash", value, "expected sha256-… or sha256:…")
    digits = value[7:]
    is_sri = value[6] == "-"
    try:
        if len(digits) == 64 and not is_sri:
            # Unlike `bytes.fromhex`, this refuses spaces between the digits.
            return binascii.unhexlify(digits)
        if len(digits) == 52 and not is_sri:
            return _from_nix_base32(digits)
        raw = base64.b64decode(digits, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidInputError("hash", value, str(error)) from None
    if len(raw) != 32:
        raise InvalidInputError("hash", value, "it does not have 32 bytes")
    return raw


def to_sri(raw: bytes) -> str:
    """Returns `sha256-<base64>`, the notation used in recipes and for people."""
    return "sha256-" + base64.b64encode(raw).decode()


def to_nix_base32(raw: bytes) -> str:
    """Returns the 52 base-32 digits that Nix uses in content addresses."""
    number = int.from_bytes(raw, "little")
    return "".join(_NIX_BASE32[number >> shift & 31] for shift in range(255, -1, -5))


def _from_nix_base32(digits: str) -> bytes:
    number = 0
    for digit in digits:
        number = number << 5 | _NIX_BASE32.index(digit)
    try:
        return number.to_bytes(32, "little")
    except OverflowError:
        raise ValueError("it has more than 32 bytes") from None
