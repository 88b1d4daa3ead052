"""NAR hashes as Nix makes them."""

from __future__ import annotations

import hashlib
import subprocess

from nixoci.store.hashes import parse_sha256, to_sri

from tests.integration.support.tools import tool
from tests.nixoci.tar.tar_support import LEVELS_OF_FILES


def hash_by_nix(path: str) -> str:
    """In the notation that every version of `nix-hash` prints: hexadecimal."""
    command = [tool("nix-hash"), "--type", "sha256", path]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="ascii")
    return to_sri(parse_sha256("sha256:" + result.stdout.strip()))


def hash_of_deep_tree(levels: int, content: bytes = b"x") -> str:
    """That of what `write_deep_tree` writes, put together here: newer versions of Nix take 64 levels, older ones 1,900."""
    nar = _node(b"directory")
    for level in reversed(range(levels)):
        entries = [(b"d", nar)]
        if level % LEVELS_OF_FILES == 0:
            entries.append((b"y", _node(b"symlink", _strings(b"target", b"%d" % level))))
            entries.append((b"z", _node(b"regular", _strings(b"contents", content))))
        named = (
            _strings(b"entry", b"(", b"name", name, b"node") + node + _strings(b")")
            for name, node in entries
        )
        nar = _node(b"directory", b"".join(named))
    whole = hashlib.sha256(_strings(b"nix-archive-1") + nar)
    return to_sri(parse_sha256(f"sha256:{whole.hexdigest()}"))


def _node(kind: bytes, rest: bytes = b"") -> bytes:
    return _strings(b"(", b"type", kind) + rest + _strings(b")")


def _strings(*texts: bytes) -> bytes:
    return b"".join(len(t).to_bytes(8, "little") + t + bytes(-len(t) % 8) for t in texts)
