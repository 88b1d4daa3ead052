"""The tar stream of a database layer: what Nix needs besides the store paths to know them.

    nix/store/.links/              for hard links of equal files (`nix-store --optimise`)
    nix/var/nix/db/db.sqlite       the registrations
    nix/var/nix/db/schema          their schema's version
    nix/var/nix/gcroots/image/…    a link to every path that no other references
    nix/var/nix/profiles/

and the directories on the way. Nix makes everything else itself when it starts: `reserved` and
`big-lock` would only be bytes, and a write-ahead log beside a new database would destroy it.

The links keep the garbage collector inside a container from deleting the image under it. `gcroots`
has to be there in any case: Nix processes that start side by side and each make it get in each
other's way.

Headers are those of the dialect `oci`, see `nixoci.tar.pack`, with what the recipe's permissions say.
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.database.nix_database import SCHEMA_VERSION, database_bytes
from nixoci.recipe.database import DatabaseRecipe
from nixoci.store.path import StorePath
from nixoci.store.registration import Registrations
from nixoci.tar.dialect import DIALECTS
from nixoci.tar.header import BLOCK_SIZE, DIRECTORY, REGULAR, SYMLINK
from nixoci.tar.output import Flush, Output
from nixoci.tar.permissions import Headers

_MODES = {DIRECTORY: 0o755, REGULAR: 0o644, SYMLINK: 0o777}


@dataclass(frozen=True)
class _Entry:
    """:param content: of a regular file; the target of a symbolic link."""

    name: bytes
    kind: bytes
    content: bytes = b""


def pack_database(
    recipe: DatabaseRecipe, buffer: memoryview, flush: Flush
) -> tuple[int, memoryview]:
    """As `nixoci.tar.pack`, for the recipe of a database layer; it reads no store.

    :raises InvalidInputError: an owner that ustar has no room for.
    :raises DatabaseTooLargeError: see `nixoci.database.sqlite_file`.
    """
    output = Output(buffer, flush)
    headers = Headers(DIALECTS["oci"], recipe.owner, recipe.permissions)
    for entry in _entries(recipe.registrations, database_bytes(recipe.registrations)):
        content = entry.content if entry.kind == REGULAR else b""
        link = entry.content if entry.kind == SYMLINK else b""
        mode = _MODES[entry.kind]
        output.append(headers.encode(entry.name, entry.kind, mode, len(content), link))
        output.append(content)
        output.append(bytes(-len(content) % BLOCK_SIZE))
    output.append(bytes(2 * BLOCK_SIZE))
    return output.flushed + output.position, output.view[: output.position]


def garbage_collector_roots(registrations: Registrations) -> tuple[StorePath, ...]:
    """Returns the paths that no other one references; what they reach is all of them."""
    referenced = {
        reference
        for registration in registrations
        for reference in registration.references
        if reference != registration.path
    }
    return tuple(r.path for r in registrations if r.path not in referenced)


def database_places(registrations: Registrations) -> dict[str, bool]:
    """Returns what is in the layer, by absolute path, and whether it is a directory."""
    return {
        f"/{entry.name.decode().rstrip('/')}": entry.kind == DIRECTORY
        for entry in _entries(registrations, b"")
    }


def _entries(registrations: Registrations, database: bytes) -> list[_Entry]:
    """Returns what is in the layer, sorted by the bytes of the names."""
    return [
        _Entry(b"nix/", DIRECTORY),
        _Entry(b"nix/store/", DIRECTORY),
        _Entry(b"nix/store/.links/", DIRECTORY),
        _Entry(b"nix/var/", DIRECTORY),
        _Entry(b"nix/var/nix/", DIRECTORY),
        _Entry(b"nix/var/nix/db/", DIRECTORY),
        _Entry(b"nix/var/nix/db/db.sqlite", REGULAR, database),
        _Entry(b"nix/var/nix/db/schema", REGULAR, SCHEMA_VERSION),
        _Entry(b"nix/var/nix/gcroots/", DIRECTORY),
        _Entry(b"nix/var/nix/gcroots/image/", DIRECTORY),
        *(
            _Entry(
                b"nix/var/nix/gcroots/image/" + path.base_name.encode(), SYMLINK, path.encode()
            )
            for path in garbage_collector_roots(registrations)
        ),
        _Entry(b"nix/var/nix/profiles/", DIRECTORY),
    ]
