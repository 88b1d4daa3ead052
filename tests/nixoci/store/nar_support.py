"""NAR hashes as Nix makes them."""

from __future__ import annotations

import subprocess

from nixoci.store.hashes import parse_sha256, to_sri

from tests.integration.support.tools import tool


def hash_by_nix(path: str) -> str:
    """In the notation that every version of `nix-hash` prints: hexadecimal."""
    command = [tool("nix-hash"), "--type", "sha256", path]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="ascii")
    return to_sri(parse_sha256("sha256:" + result.stdout.strip()))
