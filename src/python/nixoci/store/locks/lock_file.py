"""The text of a `flake.lock` → what each input of a flake is locked to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional

#: The versions of the format that Nix reads; it writes 7.
_VERSIONS = (5, 6, 7)

#: Fetchers whose inputs are named by owner and repository.
_FORGES = ("github", "gitlab", "sourcehut")


@dataclass(frozen=True)
class LockedInput:
    """What an input of a flake is locked to.

    :param source: where it comes from, much as the URL of a flake: `github:NixOS/nixpkgs`.
    :param revision: of its repository; empty if it has none.
    :param nar_hash: in SRI form; empty if it has none: it is a directory of the flake itself.
    :param last_modified: when it was, in seconds since the epoch; None if that is not known.
    :param follows: the path of the input that it is the same as; then nothing else is known of it.
    """

    source: str = ""
    revision: str = ""
    nar_hash: str = ""
    last_modified: Optional[int] = None
    follows: str = ""


def parse_lock(data: bytes) -> dict[str, LockedInput]:
    """Returns what inputs are locked to, by their paths: `nixpkgs`, and `tools/nixpkgs` for an input of an input.

    What several inputs share is there once, at its shortest path.

    :param data: a lock file of version 5 to 7.
    :raises InvalidInputError: it is none.
    """
    document = parse_object("lock file", data)
    version = get_field(document, "version", int)
    if version not in _VERSIONS:
        raise InvalidInputError("version of a lock file", version, f"{_VERSIONS} are known")
    nodes = get_field(document, "nodes", dict)
    root = get_field(document, "root", str)
    found: dict[str, LockedInput] = {}
    waiting = deque([("", root)])
    seen = {root}
    while waiting:
        path, name = waiting.popleft()
        node = get_field(nodes, name, dict)
        if path:
            found[path] = _locked(get_field(node, "locked", dict))
        inputs = get_field(node, "inputs", dict, default={})
        for input_name in sorted(inputs):
            below = f"{path}/{input_name}" if path else input_name
            if isinstance(inputs[input_name], list):
                found[below] = LockedInput(follows="/".join(get_list(inputs, input_name, str)))
            else:
                other = get_field(inputs, input_name, str)
                if other not in seen:
                    seen.add(other)
                    waiting.append((below, other))
                elif not path:
                    # What the flake itself names is always there.
                    found[below] = _locked(get_field(get_field(nodes, other, dict), "locked", dict))
    return found


def _locked(attributes: Mapping[str, Any]) -> LockedInput:
    return LockedInput(
        _source(attributes),
        get_field(attributes, "rev", str, default=""),
        get_field(attributes, "narHash", str, default=""),
        get_field(attributes, "lastModified", int, default=None),
    )


def _source(attributes: Mapping[str, Any]) -> str:
    kind = get_field(attributes, "type", str)
    if kind in _FORGES:
        owner, repository = (get_field(attributes, name, str) for name in ("owner", "repo"))
        source = f"{kind}:{owner}/{repository}"
    elif kind == "path":
        source = f"path:{get_field(attributes, 'path', str)}"
    elif kind == "indirect":
        source = f"flake:{get_field(attributes, 'id', str)}"
    else:
        url = get_field(attributes, "url", str, default="")
        source = f"{kind}+{url}" if kind in ("git", "hg") else url or kind
    directory = get_field(attributes, "dir", str, default="")
    return f"{source}?dir={directory}" if directory else source
