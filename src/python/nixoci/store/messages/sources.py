"""Where Nix has a copy of a flake, which it names in its messages."""

from __future__ import annotations

import hashlib

from nixoci.errors import NixOciError
from nixoci.store.hashes import parse_sha256, to_nix_base32
from nixoci.store.nar import nar_hash
from nixoci.store.path import STORE_DIR

#: The name of a flake that is copied to the store.
_NAME = "source"

#: Bytes of the hash in the name of a store path.
_BYTES = 20


def copied_flake(directory: str) -> str:
    """Returns the store path to which Nix copies a flake from `directory`; empty if that cannot be read.

    It is a function of the contents (libstore/store-api.cc, `makeFixedOutputPath`).
    """
    try:
        contents = parse_sha256(nar_hash(directory)).hex()
    except NixOciError:
        return ""
    digest = hashlib.sha256(f"source:sha256:{contents}:{STORE_DIR}:{_NAME}".encode()).digest()
    short = bytearray(_BYTES)
    for place, byte in enumerate(digest):
        short[place % _BYTES] ^= byte
    return f"{STORE_DIR}/{to_nix_base32(bytes(short))[-32:]}-{_NAME}"
