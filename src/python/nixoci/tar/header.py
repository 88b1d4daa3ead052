"""Tar headers: ustar (POSIX.1-1988) wherever the format can say it, pax (POSIX.1-2001) where not.

`encode_header` is the specification. `whole_header_parts` and `prefixed_header_parts` give the same bytes for the
usual case, an ASCII name in a directory whose part of the header is computed once.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from functools import lru_cache
from zlib import adler32

from nixoci.errors import InvalidInputError
from nixoci.recipe.layer import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

BLOCK_SIZE = 512

REGULAR = b"0"
SYMLINK = b"2"
DIRECTORY = b"5"
PAX = b"x"

#: The size field has 11 octal digits.
USTAR_SIZE_LIMIT = 8**11

NAME_SIZE = LINK_SIZE = 100
_PREFIX_SIZE = 155

#: Nix gives every file of a store this time, in seconds.
MTIME = b"00000000001\0"
_MAGIC = b"ustar\00000"
_NO_DEVICE = b"0000000\0" * 2
_PAX_OWNER = Owner()

#: name; mode; uid and gid; size; mtime; checksum; type; link; magic … device; prefix; 12 unused.
_USTAR = struct.Struct("100s8s16s12s12s8sc100s88s155s12x")


@lru_cache(maxsize=256)
def owner_fields(owner: Owner) -> tuple[bytes, bytes]:
    """Returns the 16 bytes of uid and gid, and the 88 bytes from the magic to the device numbers.

    :raises InvalidInputError: a number or name that ustar has no room for.
    """
    for what, number in (("uid", owner.uid), ("gid", owner.gid)):
        if not isinstance(number, int) or not 0 <= number < 8**7:
            raise InvalidInputError(f"owner {what}", number, "it is not 0 to 2097151")
    names = []
    for what, text in (("uname", owner.uname), ("gname", owner.gname)):
        if not isinstance(text, str) or not text.isascii() or len(text) > 31 or "\0" in text:
            raise InvalidInputError(f"owner {what}", text, "expected at most 31 ASCII characters")
        names.append(text.encode().ljust(32, b"\0"))
    return b"%07o\0%07o\0" % (owner.uid, owner.gid), _MAGIC + b"".join(names) + _NO_DEVICE


def encode_header(
    path: bytes,
    kind: bytes,
    mode: int,
    size: int,
    link: bytes,
    fields: tuple[bytes, bytes],
    *,
    attributes: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """Returns everything that precedes the contents of one entry, in whole blocks.

    :param path: the relative name; that of a directory ends in a slash.
    :param kind: `REGULAR`, `SYMLINK` or `DIRECTORY`.
    :param mode: permission bits, 0 to 0o7777.
    :param size: bytes of contents; 0 unless regular.
    :param link: the target of a symbolic link, else empty.
    :param fields: from `owner_fields`.
    :param attributes: keywords and values of further pax records; the values are any bytes.
    """
    split = split_path(path)
    if split and len(link) <= LINK_SIZE and size < USTAR_SIZE_LIMIT and not attributes:
        return ustar_block(*split, kind, mode, size, link, fields)
    records = b""
    if not split:
        records += pax_record(b"path", path)
    if len(link) > LINK_SIZE:
        records += pax_record(b"linkpath", link)
    if size >= USTAR_SIZE_LIMIT:
        records += pax_record(b"size", b"%d" % size)
    for keyword, value in attributes:
        records += pax_record(keyword, value)
    # Readers that know pax ignore this name; for those that do not, it is a place to look at.
    pax_name = b"PaxHeaders/" + path.rstrip(b"/").rpartition(b"/")[2]
    pax_fields = owner_fields(_PAX_OWNER)
    return b"".join(
        (
            ustar_block(b"", pax_name[:NAME_SIZE], PAX, 0o644, len(records), b"", pax_fields),
            records,
            bytes(-len(records) % BLOCK_SIZE),
            ustar_block(
                *(split or (b"", path[:NAME_SIZE].rstrip(b"/"))),
                kind,
                mode,
                size if size < USTAR_SIZE_LIMIT else 0,
                link[:LINK_SIZE],
                fields,
            ),
        )
    )


class FileHeaderParts(namedtuple("FileHeaderParts", ("start", "room", "tail", "tail_sum"))):
    """The headers of regular files of one directory, less what differs from file to file.

    :param start: text that precedes a file's name in the name field.
    :param room: the most characters that a file's name may have.
    :param tail: the header from the type on.
    :param tail_sum: what `tail` and the checksum's own field add to the checksum, less the 1 that
        `adler32` starts with.
    """

    __slots__ = ()


_NO_ROOM = FileHeaderParts("", -1, b"", 0)


def whole_header_parts(directory: bytes, fields: tuple[bytes, bytes]) -> FileHeaderParts:
    """Returns the parts for names that need no prefix field. Their room is -1 if `directory` alone is too long.

    :param directory: ASCII, ends in a slash or is empty.
    """
    return _parts(b"", directory, fields)


def prefixed_header_parts(directory: bytes, fields: tuple[bytes, bytes]) -> FileHeaderParts:
    """As `whole_header_parts`, for names that need the prefix field."""
    cut = max(directory.rfind(b"/", 0, _PREFIX_SIZE + 1), 0)
    return _parts(directory[:cut], directory[cut + 1 :], fields) if cut else _NO_ROOM


def _parts(prefix: bytes, start: bytes, fields: tuple[bytes, bytes]) -> FileHeaderParts:
    room = NAME_SIZE - len(start)
    if room < 0:
        return _NO_ROOM
    tail = ustar_block(prefix, b"", REGULAR, 0, 0, b"", fields)[156:]
    # All of it is ASCII, so its sum is less than 65521, the modulus of Adler-32.
    tail_sum = (adler32(tail) & 0xFFFF) - 1
    return FileHeaderParts(start.decode(), room, tail, tail_sum + 8 * ord(" ") - 1)


def split_path(path: bytes) -> Optional[tuple[bytes, bytes]]:
    """Returns prefix and name, the prefix as long as it can be, or None if `path` does not fit."""
    if len(path) <= NAME_SIZE:
        return b"", path
    # The slash that ends the name of a directory does not split it.
    cut = path.rfind(b"/", 0, min(_PREFIX_SIZE + 1, len(path) - 1))
    if cut > 0 and len(path) - cut - 1 <= NAME_SIZE:
        return path[:cut], path[cut + 1 :]
    return None


def ustar_block(
    prefix: bytes,
    name: bytes,
    kind: bytes,
    mode: int,
    size: int,
    link: bytes,
    fields: tuple[bytes, bytes],
    mtime: bytes = MTIME,
) -> bytes:
    """Returns one header; text that is too long for its field is cut off."""
    numbers, names = fields
    block = _USTAR.pack(
        name,
        b"%07o\0" % mode,
        numbers,
        b"%011o\0" % size,
        mtime,
        b"        ",
        kind,
        link,
        names,
        prefix,
    )
    # The low half of Adler-32 is 1 plus the sum of the bytes, modulo 65521, which 256 bytes never
    # reach: two calls add up a block faster than `sum` does.
    checksum = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2
    return b"%b%06o\0 %b" % (block[:148], checksum, block[156:])


def pax_record(keyword: bytes, value: bytes) -> bytes:
    """`<length> <keyword>=<value>\\n`, where the length counts its own digits too."""
    rest = b" %b=%b\n" % (keyword, value)
    length = len(rest)
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d%b" % (length, rest)
