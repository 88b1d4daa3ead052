"""NAR hashes: what Nix says two equal store paths have in common.

The serialisation is that of Nix's `dumpPath` (libutil/archive.cc): strings with their length, 64
bits little-endian, padded to 8 bytes; of metadata only the kind of a file and its executable bit. Names
are the true ones, see `nixoci.store.case_hack`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Callable

from nixoci.errors import NixOciError
from nixoci.store.case_hack import (
    NoTrueNameError,
    by_true_name,
    true_names,
    without_case_hack,
)
from nixoci.store.hashes import to_sri

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    digest = hashlib.sha256()
    size = 0

    def write(data: memoryview) -> None:
        nonlocal size
        size += len(data)
        digest.update(data)

    write(memoryview(_string(b"nix-archive-1")))
    _dump(os.fsencode(path), write, has_case_hack)
    return Nar(to_sri(digest.digest()), size)


def _dump(
    path: bytes, write: Callable[[memoryview], object], has_case_hack: HasCaseHack
) -> None:
    def put(*words: bytes) -> None:
        write(memoryview(b"".join(map(_string, words))))

    try:
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            executable = (b"executable", b"") if status.st_mode & stat.S_IXUSR else ()
            put(b"(", b"type", b"regular", *executable, b"contents")
            _dump_contents(path, status.st_size, write)
            put(b")")
        elif stat.S_ISLNK(status.st_mode):
            put(b"(", b"type", b"symlink", b"target", os.readlink(path), b")")
        elif stat.S_ISDIR(status.st_mode):
            put(b"(", b"type", b"directory")
            names = by_true_name(true_names(os.listdir(os.fsdecode(path)), has_case_hack))
            for name in sorted(names, key=os.fsencode):
                put(b"entry", b"(", b"name", os.fsencode(name), b"node")
                _dump(path + b"/" + os.fsencode(names[name]), write, has_case_hack)
                put(b")")
            put(b")")
        else:
            raise NarError(os.fsdecode(path), "it is no directory, regular file or symbolic link")
    except NoTrueNameError as error:
        raise NarError(os.fsdecode(path), f"it {error.why}") from None
    except OSError as error:
        raise NarError(os.fsdecode(path), error.strerror or str(error)) from error


def _dump_contents(path: bytes, size: int, write: Callable[[memoryview], object]) -> None:
    write(memoryview(size.to_bytes(8, "little")))
    buffer = memoryview(bytearray(min(size + 1, _BUFFER_SIZE)))
    left = size
    with open(path, "rb", buffering=0) as file:
        while True:
            count = file.readinto(buffer)
            if not count:
                break
            left -= count
            write(buffer[:count])
    if left:
        raise NarError(os.fsdecode(path), "it changed its size while it was read")
    write(memoryview(bytes(-size % 8)))


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + bytes(-len(text) % 8)
