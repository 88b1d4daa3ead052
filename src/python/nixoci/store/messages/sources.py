"""Where Nix has copies of a flake and of its inputs."""

from __future__ import annotations

import os

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.sha256 import sha256
from nixoci.store.hashes import parse_sha256, to_nix_base32
from nixoci.store.locks.names import FLAKE_LOCK
from nixoci.store.nar import nar_hash
from nixoci.store.path import STORE_DIR

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence

#: The name of a flake that is copied to the store.
_NAME = "source"

#: Bytes of the hash in the name of a store path.
_BYTES = 20

#: So many inputs of each other are followed.
_DEEPEST = 20


def copied_flake(directory: str) -> str:
    """Returns the store path to which Nix copies a flake from `directory`; empty if that cannot be read.

    It is a function of the contents (libstore/store-api.cc, `makeFixedOutputPath`).
    """
    try:
        contents = parse_sha256(nar_hash(directory)).hex()
    except NixOciError:
        return ""
    digest = sha256(f"source:sha256:{contents}:{STORE_DIR}:{_NAME}".encode()).digest()
    short = bytearray(_BYTES)
    for place, byte in enumerate(digest):
        short[place % _BYTES] ^= byte
    return f"{STORE_DIR}/{to_nix_base32(bytes(short))[-32:]}-{_NAME}"


def relative_inputs(directory: str) -> tuple[str, ...]:
    """Returns the directories of the inputs that the lock file of a flake names by relative paths.

    :param directory: of the flake. Inputs that are not in it are left out, and so is what cannot be read: Nix says what
        is wrong with that.
    """
    try:
        with open(os.path.join(directory, FLAKE_LOCK), "rb") as file:
            lock = parse_object("lock file", file.read())
        nodes = get_field(lock, "nodes", dict)
        root = get_field(lock, "root", str)
        found = [_relative(nodes, root, name) for name in sorted(nodes)]
    except (OSError, InvalidInputError):
        return ()
    top = os.path.realpath(directory)
    places = [os.path.realpath(os.path.join(top, path)) for path in found if path is not None]
    return tuple(
        place for place in dict.fromkeys(places) if place.startswith(top + os.sep) and os.path.isdir(place)
    )


def _relative(nodes: dict[str, Any], root: str, name: str) -> Optional[str]:
    """Returns the path of an input from the directory of the flake; None if it is none by relative paths."""
    parts: list[str] = []
    for _ in range(_DEEPEST):
        if name == root:
            return os.path.join(*reversed(parts)) if parts else None
        node = get_field(nodes, name, dict)
        locked = get_field(node, "locked", dict, default={})
        path = locked.get("path")
        if locked.get("type") != "path" or not isinstance(path, str) or path.startswith("/"):
            return None
        parts.append(path)
        name = _node(nodes, root, get_list(node, "parent", str, default=()))
    return None


def _node(nodes: dict[str, Any], root: str, names: Sequence[str], depth: int = 0) -> str:
    """Returns the node that a path of inputs leads to, from the root.

    :raises InvalidInputError: it leads nowhere.
    """
    node = root
    for name in names:
        inputs = get_field(get_field(nodes, node, dict), "inputs", dict, default={})
        to = inputs.get(name)
        if isinstance(to, list) and depth < _DEEPEST:
            to = _node(nodes, root, [str(one) for one in to], depth + 1)
        if not isinstance(to, str):
            raise InvalidInputError("input of a flake", name, "it leads to no node of the lock file")
        node = to
    return node
