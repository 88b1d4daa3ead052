"""NAR hashes: what Nix says two equal store paths have in common.

The serialisation is that of Nix's `dumpPath` (libutil/archive.cc): strings with their length, 64
bits little-endian, padded to 8 bytes; of metadata only the kind of a file and its executable bit. Names
are the true ones, see `nixoci.store.case_hack`.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from nixoci.descent import OPEN_FILE, walk
from nixoci.errors import NixOciError
from nixoci.sha256 import sha256
from nixoci.store.case_hack import (
    NoTrueNameError,
    by_true_name,
    true_names,
    without_case_hack,
)
from nixoci.store.hashes import to_sri

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from nixoci.descent import Item
    from nixoci.store.case_hack import HasCaseHack

_BUFFER_SIZE = 256 * 1024


class NarError(NixOciError):
    """Something has no NAR: it cannot be read, or Nix does not store its kind.

    :param file: its path in the file system.
    """

    def __init__(self, file: str, why: str) -> None:
        self.file = file
        self.why = why
        super().__init__(f"{file!a} has no NAR hash: {why}.")


@dataclass(frozen=True)
class Nar:
    """What Nix records of a serialised path.

    :param hash: SHA-256, SRI form.
    :param size: bytes of the serialisation.
    """

    hash: str
    size: int


def nar_hash(path: str, has_case_hack: HasCaseHack = without_case_hack) -> str:
    """Returns the NAR hash of what is at `path`, as `nix-hash --type sha256 --sri` does.

    :param has_case_hack: whether names are those of `nixoci.store.case_hack`.
    :returns: `sha256-<base64>`.
    :raises NarError: it or something below it cannot be read, or has no place in a NAR.
    """
    return read_nar(path, has_case_hack).hash


def read_nar(path: str, has_case_hack: HasCaseHack = without_case_hack) -> Nar:
    """As `nar_hash`, with the size; memory does not grow with the size of files."""
    digest = sha256()
    size = 0

    def write(data: memoryview) -> None:
        nonlocal size
        size += len(data)
        digest.update(data)

    write(memoryview(_string(b"nix-archive-1")))
    _dump(path, write, has_case_hack)
    return Nar(to_sri(digest.digest()), size)


def _dump(
    path: str, write: Callable[[memoryview], object], has_case_hack: HasCaseHack
) -> None:
    def put(*words: bytes) -> None:
        write(memoryview(b"".join(map(_string, words))))

    def choose(below: str, names: list[str]) -> dict[str, str]:
        found = by_true_name(true_names(names, has_case_hack))
        return {name: found[name] for name in sorted(found, key=os.fsencode)}

    file = path
    depth = 0
    try:
        for item in walk(path, choose):
            file = item.location
            # The directories that have ended, each with the entry that it is.
            put(*(b")", b")") * (depth - item.depth))
            depth = item.depth
            if depth:
                put(b"entry", b"(", b"name", os.fsencode(item.path.rpartition("/")[2]), b"node")
            if item.kind == stat.S_IFDIR:
                put(b"(", b"type", b"directory")
                depth += 1
                continue
            if item.kind == stat.S_IFREG:
                _dump_file(item, put, write)
            elif item.kind == stat.S_IFLNK:
                target = os.fsencode(os.readlink(item.name, dir_fd=item.parent))
                put(b"(", b"type", b"symlink", b"target", target, b")")
            else:
                raise NarError(file, "it is no directory, regular file or symbolic link")
            if depth:
                put(b")")
        if depth:
            put(*(b")", b")") * (depth - 1), b")")
    except NoTrueNameError as error:
        raise NarError(file, f"it {error.why}") from None
    except OSError as error:
        raise NarError(file, error.strerror or str(error)) from error


def _dump_file(
    item: Item, put: Callable[..., object], write: Callable[[memoryview], object]
) -> None:
    descriptor = os.open(item.name, OPEN_FILE, dir_fd=item.parent)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NarError(item.location, "it was replaced while it was read")
        executable = (b"executable", b"") if status.st_mode & stat.S_IXUSR else ()
        put(b"(", b"type", b"regular", *executable, b"contents")
        size = left = status.st_size
        write(memoryview(size.to_bytes(8, "little")))
        buffer = memoryview(bytearray(min(size + 1, _BUFFER_SIZE)))
        while True:
            count = file.readinto(buffer)
            if not count:
                break
            left -= count
            write(buffer[:count])
    if left:
        raise NarError(item.location, "it changed its size while it was read")
    write(memoryview(bytes(-size % 8)))
    put(b")")


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + bytes(-len(text) % 8)
