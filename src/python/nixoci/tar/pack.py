"""The tar stream of a recipe: the same bytes for the same recipe, everywhere and always.

The byte layout (a change of it is a new `recipe.RECIPE_VERSION`):

- Entries are sorted by the bytes of their destinations: depth-first, siblings by the bytes of their
  names, whatever store path they come from. So they do not depend on the order of the recipe.
- ustar (POSIX.1-1988); pax extended headers (POSIX.1-2001) only for what ustar cannot say: names
  that fit neither the name field (100 bytes) nor prefix and name (155 and 100 bytes, split at the
  last possible slash), link targets over 100 bytes, files of 8 GiB and more, capabilities. The
  records stand in the order path, linkpath, size, SCHILY.xattr.security.capability. Names are the
  raw bytes of the file system, UTF-8 or not, in both.
- Names are relative and start with no `./`, so that scanners see `etc/passwd`; those of directories
  end in a slash.
- If any entry goes to the store, there are `nix/` and `nix/store/`, each once, mode 0755.
- An entry with the destination `/` puts what its directory contains at the root of the image; the
  directory itself is not among it. All directories that it brings have mode 0755 rather than Nix's
  0555, since an image's `/etc` or `/tmp` should be an ordinary one that its owner can write to.
- Where several entries meet, what they agree on is emitted once: directories of the same mode,
  files of the same mode and bytes, symbolic links of the same target. Anything else that they
  both bring to one place is a `DuplicateDestinationError`.
- What the recipe's excludes match, relative to a store path, is left out, as if it were not in the
  store: at the root as in the store. A directory of which everything is left out is an empty one.
- Modes are what a NAR can say, since Nix promises no others: files 0555 if their owner may run them and
  else 0444, directories 0555, symbolic links 0777, whatever the disk has. Names are those of the NAR too,
  also where Nix writes others to the disk (`nixoci.store.case_hack`).
- Of the rest that a disk has nothing counts. Time 1 (second), uid 0, gid 0, `root`, `root` unless
  permissions say otherwise or, for `/nix` and what is below it, the recipe's owner. No extended
  attributes, but for the capabilities that permissions give to regular files;
  `nixoci.tar.capabilities` has their value.
  Hard links are full files, since link counts change when a store is optimised.
- Two blocks of zeros at the end, and no padding after them.

That is the dialect `oci`. In the dialect `nix2container`, a layer has the bytes that the tool
nix2container gives to the same contents (its `nix/tar.go` and `nix/graph.go`):

- Names are absolute, and those of directories do not end in a slash. `/` is an entry too, with mode
  0755, unless the layer is empty. Pax headers are those of Go, their records sorted by keyword (which
  has that of capabilities first), see `tar_nix2container`.
- Modes are the twelve permission bits of the disk, in the store and in what is copied to the root (there:
  `copyToRoot`). A directory that a copied tree brings has the mode that it has there, also if it is `/nix`
  or `/nix/store`.
- The mode of a permission applies to symbolic links too.

What that tool makes of contradicting or missing input is not copied, it is an error in both: trees
that differ at one place (the tool compares modes and sizes only), or a file or link to be copied to
the root (it would be left out), or a name that begins with `.wh.` (it would delete a file). A tree that
would be copied into the store of the image is an error too: its paths would be there without Nix's
knowing of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from nixoci.recipe.layer import ROOT, LayerRecipe
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.dialect import DIALECTS
from nixoci.tar.errors import CopiedStoreError, HiddenStoreError
from nixoci.tar.excludes import excluded_by
from nixoci.tar.header import BLOCK_SIZE
from nixoci.tar.merge import Found, Implied, Merger
from nixoci.tar.output import BUFFER_SIZE, Flush, Output
from nixoci.tar.permissions import Headers
from nixoci.tar.walk import Walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.store.case_hack import HasCaseHack
    from nixoci.tar.merge import Source


def write_tar(
    recipe: LayerRecipe,
    write: Callable[[memoryview], object],
    *,
    store_root: str = "",
    has_case_hack: HasCaseHack = without_case_hack,
) -> int:
    """Streams the tar of `recipe`; memory does not grow with its size.

    :param write: takes the stream part by part, and uses the part before it returns. The `update`
        of a hash, the `sendall` of a socket and the `write` of a blocking file are such functions.
    :param store_root: what precedes `/nix/store` where the paths are read (a chroot store's root).
    :param has_case_hack: whether the store's names are those of `nixoci.store.case_hack`.
    :returns: bytes written.
    :raises StoreReadError: a store path cannot be packed; see its children.
    :raises DuplicateDestinationError: two paths differ in what they bring to one place.

    What `write` raises comes out unchanged. After an exception the stream is incomplete, which
    every reader of tar notices by the missing end.
    """
    buffer = memoryview(bytearray(BUFFER_SIZE))

    def flush(full: memoryview) -> memoryview:
        write_all(write, full)
        return buffer

    size, last = pack(
        recipe, buffer, flush, store_root=store_root, has_case_hack=has_case_hack
    )
    write_all(write, last)
    return size


def write_all(write: Callable[[memoryview], object], part: memoryview) -> None:
    """Writes all of `part`, also through a raw file that takes only some of it at a time."""
    written = write(part)
    while isinstance(written, int) and written < len(part):
        part = part[written:]
        written = write(part)


def _require_no_store(walker: Walker, location: str) -> None:
    """Checks that a tree that is copied to the root has nothing in its `nix/store`.

    :param location: where the tree is.
    :raises CopiedStoreError: it has. `HiddenStoreError`: one of these is no directory.
    """
    found = _names(walker, location, "")
    for part, below in (("nix", "nix/"), ("store", "nix/store/")):
        if part not in found:
            return
        location = f"{location}/{found[part]}"
        if os.path.islink(location) or not os.path.isdir(location):
            raise HiddenStoreError(walker.path, below[:-1])
        found = _names(walker, location, below)
    if found:
        raise CopiedStoreError(walker.path, min(found))


def _names(walker: Walker, directory: str, below: str) -> dict[str, str]:
    """As `Walker.names`, for a directory by its place; what is none has no names."""
    # A store path that is a file is another error.
    if os.path.islink(directory) or not os.path.isdir(directory):
        return {}
    return walker.names(below, walker.attempt(below.rstrip("/"), os.listdir, directory))


def pack(
    recipe: LayerRecipe,
    buffer: memoryview,
    flush: Flush,
    *,
    store_root: str = "",
    has_case_hack: HasCaseHack = without_case_hack,
    fast: bool = True,
) -> tuple[int, memoryview]:
    """As `write_tar` for callers that bring their own buffers.

    :param buffer: the first one, `BUFFER_SIZE` bytes, writable.
    :param flush: takes a full buffer, returns the one to fill next.
    :param fast: False sends every header through the general function, for tests.
    :returns: the size of the whole stream in bytes, and its last part, which `flush` did not get.
    """
    output = Output(buffer, flush)
    dialect = DIALECTS[recipe.dialect]
    headers = Headers(dialect, recipe.owner, recipe.permissions)
    excluded = excluded_by(recipe.excludes)
    copied: list[Source] = []
    in_store: dict[bytes, Source] = {}
    for entry in recipe.entries:
        plain = not headers.may_change(entry.destination)
        encode = headers.encode_plain if plain else headers.encode
        fields = headers.fields if fast and plain else None
        location = store_root + entry.path
        at_root = entry.destination == ROOT
        walker = Walker(
            output,
            entry.path,
            encode,
            fields,
            file_mode=dialect.file_mode,
            directory_mode=(
                dialect.copied_directory_mode if at_root else dialect.directory_mode
            ),
            excluded=excluded,
            has_case_hack=has_case_hack,
        )
        if at_root:
            _require_no_store(walker, location)
            copied.append(Found(walker, location))
        else:
            in_store[entry.path.base_name.encode()] = Found(walker, location)
    if in_store:
        path = next(iter(in_store.values())).path
        store = Implied(path, {b"nix": Implied(path, {b"store": Implied(path, in_store)})})
        Merger(output, headers.encode, dialect.root).pack([*copied, store])
    elif copied:
        Merger(output, headers.encode, dialect.root).pack(copied)
    output.append(bytes(2 * BLOCK_SIZE))
    return output.flushed + output.position, output.view[: output.position]
