"""A path that only an evaluation knew → who owns it, and what to write for it to be seen."""

from __future__ import annotations

import posixpath
import re
from typing import Any, Collection, Mapping

from nixoci.store.locks.names import FLAKE
from pants.engine.addresses import Address
from pants.engine.fs import PathGlobs

from pants_backend_nix.engine import entries, files_matching
from pants_backend_nix.rules.inference.owners import FileOwners, one_of_variants, owners_of
from pants_backend_nix.rules.inference.references import PathReference

#: So many owners of a directory are named.
_MOST = 5

#: The fact of each error that says which file evaluation may lack.
_LACKED = {"UndeclaredSourceError": "path", "OutdatedLockError": "lock"}


async def undeclared_hint(
    error: Mapping[str, Any], address: Address, source: str, visible: Collection[str]
) -> str:
    """Returns sentences on what to do about an evaluation that lacks a file; empty for any other error, and for a
    path that is none of this repository or is a dependency already.

    :param error: what the core reported.
    :param address: of the package; `source`: its Nix file.
    :param visible: the files that the evaluation had.
    """
    field = _LACKED.get(str(error.get("error")), "")
    path = str(error.get(field) or "").rstrip("/")
    if not path or path.startswith(("/", "..")):
        return ""
    directory = posixpath.dirname(source)
    if posixpath.basename(source) == FLAKE and not path.startswith(posixpath.join(directory, "")):
        return (
            f"It is above the directory of the flake, {directory}. Move the flake to a directory that is above both, "
            "make what it needs an input of the flake, or let the package be a `default.nix`, which sees all files that "
            "it depends on. "
        )
    if path in visible or any(file.startswith(f"{path}/") for file in visible):
        return ""
    if field == "lock" and not await entries(await files_matching(PathGlobs([path]))):
        return ""
    own = PathReference(source, imported=True)
    return _hint(path, address, source, *await owners_of((PathReference(path), own)))


def _hint(
    path: str, address: Address, source: str, owners: FileOwners, of_source: FileOwners
) -> str:
    found = {
        owner
        for file in owners.paths
        for owner in one_of_variants(owners.of(file), address)[:1]
    }
    if len(found) > 1:
        found = {owner.maybe_convert_to_target_generator() for owner in found}
    if not found:
        return (
            "No target owns it. If it is a file of this repository, add one to "
            f"{posixpath.join(posixpath.dirname(path), 'BUILD')}:\n\n    {target_to_add(path)}\n\n"
            f"Where Pants does not find the path in {source} or in what it imports, name the target in the field "
            "`dependencies` of this one. "
        )
    specs = sorted(owner.spec for owner in found)
    others = [one.spec for one in of_source.of(source) if one != address]
    also = f" (or of {others[0]}, for all packages of that file)" if others else ""
    who = f"target {specs[0]} owns it" if len(specs) == 1 else f"targets {', '.join(specs[:_MOST])} own it"
    more = " and others" if len(specs) > _MOST else ""
    line = ", ".join(f'"{spec}"' for spec in specs)
    return (
        f"The {who}{more}, and Pants has not found the path in Nix files, perhaps since it is computed. Add it to "
        f"the field `dependencies` of {address}{also}:\n\n    dependencies=[{line}],\n\n"
    )


def target_to_add(path: str) -> str:
    """Returns the target that one would write for a file."""
    file = posixpath.basename(path)
    name = re.sub("[^A-Za-z0-9_-]+", "-", file).strip("-") or "file"
    kind = "nix_source" if file.endswith(".nix") or file == "flake.lock" else "file"
    return f'{kind}(name="{name}", source="{file}")'
