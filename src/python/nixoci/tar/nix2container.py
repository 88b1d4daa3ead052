"""Tar headers as the tool nix2container writes them, byte for byte.

They are those of Go's `archive/tar` (`Writer.WriteHeader` of a header without a format): ustar if
it can say everything, and else pax extended headers, of which Go has ways of its own. How this was
found out and verified is in `tests/nixoci/tar/test_nix2container.py`.
"""

from __future__ import annotations

from nixoci.tar.header import (
    BLOCK_SIZE,
    DIRECTORY,
    LINK_SIZE,
    NAME_SIZE,
    PAX,
    USTAR_SIZE_LIMIT,
    pax_record,
    split_path,
    ustar_block,
)

#: The extended header has no owner at all: numbers of zeros, names of NUL.
_PAX_FIELDS = (b"0000000\0" * 2, b"ustar\00000".ljust(88, b"\0"))
_PAX_MTIME = b"00000000000\0"
_NOT_ASCII = bytes(range(0x80, 0x100))


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
    """As `tar_header.encode_header`, in the layout of nix2container.

    :param path: the absolute name. That of a directory ends in a slash, which is not written.
    """
    if kind == DIRECTORY:
        path = path[:-1] or b"/"
    # The name and prefix fields hold ASCII only, whatever its length.
    split = split_path(path) if path.isascii() else None
    plain_link = len(link) <= LINK_SIZE and link.isascii()
    if split and plain_link and size < USTAR_SIZE_LIMIT and not attributes:
        return ustar_block(*split, kind, mode, size, link, fields)
    values = dict(attributes)
    if not plain_link:
        values[b"linkpath"] = link
    # Also if the name could be split: the prefix field is never used beside a pax header.
    if len(path) > NAME_SIZE or not path.isascii():
        values[b"path"] = path
    if size >= USTAR_SIZE_LIMIT:
        values[b"size"] = b"%d" % size
    records = b"".join(pax_record(keyword, values[keyword]) for keyword in sorted(values))
    directory, _, base = path.rpartition(b"/")
    pax_name = _ascii(directory + b"/PaxHeaders.0/" + base)[:NAME_SIZE].rstrip(b"/")
    return b"".join(
        (
            ustar_block(b"", pax_name, PAX, 0, len(records), b"", _PAX_FIELDS, _PAX_MTIME),
            records,
            bytes(-len(records) % BLOCK_SIZE),
            ustar_block(
                b"",
                _field(path, NAME_SIZE),
                kind,
                mode,
                size if size < USTAR_SIZE_LIMIT else 0,
                _field(link, LINK_SIZE),
                fields,
            ),
        )
    )


def _ascii(text: bytes) -> bytes:
    return text.translate(None, _NOT_ASCII)


def _field(text: bytes, size: int) -> bytes:
    """What a field of `size` bytes holds of `text` that has a pax record too."""
    text = _ascii(text)
    field = text[:size]
    if len(text) > size and field.endswith(b"/"):
        # Go has only the first of the slashes that a field ends in become NUL. There are several
        # where a name between them had nothing in ASCII.
        start = len(field.rstrip(b"/"))
        field = field[:start] + b"\0" + field[start + 1 :]
    return field
