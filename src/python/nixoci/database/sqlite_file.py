"""Writing SQLite database files without SQLite.

What SQLite itself writes differs from version to version, in the header and in how it balances its
b-trees. The file format is documented and frozen (https://sqlite.org/fileformat2.html), so here the
b-trees are laid out directly, full pages from left to right: same rows, same bytes, everywhere.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate, islice, repeat
from operator import add
from typing import Iterable, Iterator, Optional, Sequence, Union

from nixoci.errors import NixOciError

Value = Union[None, int, str]

PAGE_SIZE = 4096

#: The page at 1 GiB is SQLite's lock and may hold nothing. No database comes near it, since it is
#: that of some ten million references.
_MAX_PAGES = 0x40000000 // PAGE_SIZE

_INDEX_INTERIOR, _TABLE_INTERIOR, _INDEX_LEAF, _TABLE_LEAF = 2, 5, 10, 13

_LEAF_HEADER_SIZE = 8
_INTERIOR_HEADER_SIZE = 12

#: The longest records that have no overflow pages (fileformat2, section 1.6).
_MAX_TABLE_RECORD = PAGE_SIZE - 35
_MAX_INDEX_RECORD = (PAGE_SIZE - 12) * 64 // 255 - 23
_MIN_LOCAL = (PAGE_SIZE - 12) * 32 // 255 - 23

#: The type and size of integers that need so many bytes; there is none of five or seven.
_INTEGER_TYPES = {
    **{size: (bytes((size,)), size) for size in (1, 2, 3, 4)},
    **{size: (b"\5", 6) for size in (5, 6)},
    **{size: (b"\6", 8) for size in (7, 8)},
}

#: The fields that say which SQLite wrote the file and how often are constants: version 3.7.0, the
#: first that knows write-ahead logs, and one change.
_VERSION_NUMBER = 3007000
_CHANGES = 1
_SCHEMA_COOKIE = 1
_SCHEMA_FORMAT = 4
_UTF_8 = 1
_WRITE_AHEAD_LOG = 2


class DatabaseTooLargeError(NixOciError):
    """A database file would have 1 GiB or more."""

    def __init__(self) -> None:
        super().__init__("The database would be larger than 1 GiB, the limit of what is supported.")


class SqliteFile:
    """A database file in write-ahead log mode, in memory; add b-trees, then take the bytes."""

    def __init__(self) -> None:
        # The first page is made in the end, since it names the root pages of all b-trees.
        self._pages = [b""]

    def add_table(self, records: Iterable[bytes]) -> int:
        """Adds a table b-tree and returns its root page.

        :param records: the rows; they get the row numbers 1, 2, ….
        :raises DatabaseTooLargeError: see there.
        """
        records = list(records)
        lengths = list(map(len, records))
        if max(lengths, default=0) > _MAX_TABLE_RECORD:
            records = list(map(self._local_part, records))
        rows = islice(_varints(len(records) + 1), 1, None)
        cells = list(map(b"".join, zip(map(_varint, lengths), rows, records)))
        spans = list(_spans(cells, _LEAF_HEADER_SIZE, apart=0))
        children = [self._add_page(_page(_TABLE_LEAF, cells[s:e])) for s, e in spans]
        separators = [_varint(end) for _, end in spans[:-1]]
        return self._add_interior(_TABLE_INTERIOR, children, separators)

    def add_index(self, records: Iterable[bytes]) -> int:
        """Adds an index b-tree and returns its root page.

        :param records: keys of two values or more, the last one the row number; in the order of
            these values, and at most 1,002 bytes each.
        :raises DatabaseTooLargeError: see there.
        """
        records = list(records)
        lengths = list(map(len, records))
        if max(lengths, default=0) > _MAX_INDEX_RECORD:
            raise ValueError("an index record is too long to be on one page")
        cells = list(map(add, map(_varint, lengths), records))
        # Every key is there once: those between two leaves are in the pages above only.
        spans = list(_spans(cells, _LEAF_HEADER_SIZE, apart=1))
        children = [self._add_page(_page(_INDEX_LEAF, cells[s:e])) for s, e in spans]
        separators = [cells[end] for _, end in spans[:-1]]
        return self._add_interior(_INDEX_INTERIOR, children, separators)

    def to_bytes(self, schema: Sequence[tuple[str, str, str, int, Optional[str]]]) -> bytes:
        """Returns the file.

        :param schema: the rows of the table `sqlite_schema`: type, name, table, root page, SQL.
            They must fit on the first page, which is plenty for a dozen tables.
        """
        records = map(record, schema)
        cells = [_varint(len(r)) + _varint(row) + r for row, r in enumerate(records, 1)]
        header = struct.pack(
            ">16sH6B12I20xII",
            b"SQLite format 3\0",
            PAGE_SIZE,
            # Who reads it and who writes it must know of write-ahead logs.
            *(_WRITE_AHEAD_LOG, _WRITE_AHEAD_LOG),
            # No bytes reserved in pages, and three constants of the format.
            *(0, 64, 32, 32),
            *(_CHANGES, len(self._pages)),
            # No free pages.
            *(0, 0),
            *(_SCHEMA_COOKIE, _SCHEMA_FORMAT),
            # Neither a suggested cache size nor automatic vacuum.
            *(0, 0),
            _UTF_8,
            # No version or identity of the application, no incremental vacuum.
            *(0, 0, 0),
            # The number of pages above is valid if this is the number of changes.
            *(_CHANGES, _VERSION_NUMBER),
        )
        first = _page(_TABLE_LEAF, cells, before=header)
        return b"".join([first, *self._pages[1:]])

    def _add_page(self, page: bytes) -> int:
        if len(self._pages) == _MAX_PAGES:
            raise DatabaseTooLargeError()
        self._pages.append(page)
        return len(self._pages)

    def _add_interior(self, kind: int, children: list[int], separators: list[bytes]) -> int:
        """Adds the pages above `children`, level by level, and returns the topmost one."""
        while len(children) > 1:
            cells = [struct.pack(">I", c) + s for c, s in zip(children, separators)]
            spans = list(_spans(cells, _INTERIOR_HEADER_SIZE, apart=1))
            # What is left of a separator is in its own cell; right of the last one, in the header.
            parents = [self._add_page(_page(kind, cells[s:e], right=children[e])) for s, e in spans]
            children, separators = parents, [separators[end] for _, end in spans[:-1]]
        return children[0]

    def _local_part(self, record: bytes) -> bytes:
        """Returns what of the record of a table row is in its cell; adds pages for the rest."""
        if len(record) <= _MAX_TABLE_RECORD:
            return record
        room = PAGE_SIZE - 4
        local = _MIN_LOCAL + (len(record) - _MIN_LOCAL) % room
        if local > _MAX_TABLE_RECORD:
            local = _MIN_LOCAL
        following = 0
        # From the end, so that each page knows the number of the next.
        for start in reversed(range(local, len(record), room)):
            part = record[start : start + room]
            following = self._add_page(struct.pack(">I", following) + part.ljust(room, b"\0"))
        return record[:local] + struct.pack(">I", following)


def record(values: Iterable[Value]) -> bytes:
    """Returns values as a record (fileformat2, section 2.1)."""
    types, bodies = zip(*map(_encode, values))
    header = b"".join(types)
    # Its own length counts, and is one byte up to here.
    length = len(header) + 1 if len(header) < 127 else len(header) + 2
    return b"".join((_varint(length), header, *bodies))


class IntegerRecords:
    """Makes records of integers as `record` does, but hundreds of thousands in a moment.

    :param largest: no integer is larger, and none is negative.
    """

    def __init__(self, largest: int) -> None:
        encoded = [_encode(number) for number in range(min(largest, 127) + 1)]
        self._types = [kind for kind, _ in encoded]
        self._bodies = [body for _, body in encoded]
        for size in (2, 3, 4):
            numbers = range(len(self._bodies), min(largest + 1, 1 << 8 * size - 1))
            self._types += [bytes((size,))] * len(numbers)
            self._bodies += [number.to_bytes(size, "big") for number in numbers]

    def __call__(self, *columns: Sequence[int]) -> Iterator[bytes]:
        """Returns the records whose values are the items of `columns`, equally many in each."""
        # No statement of Python is run for a record; this is what takes the time of a database.
        types = (map(self._types.__getitem__, column) for column in columns)
        bodies = (map(self._bodies.__getitem__, column) for column in columns)
        return map(b"".join, zip(repeat(_varint(len(columns) + 1)), *types, *bodies))


def _encode(value: Value) -> tuple[bytes, bytes]:
    """Returns the type and the body of a value."""
    if value is None:
        return b"\0", b""
    if isinstance(value, str):
        text = value.encode()
        return _varint(2 * len(text) + 13), text
    if value in (0, 1):
        return (b"\x08", b"\x09")[value], b""
    # One bit is that of the sign.
    least = (value if value >= 0 else ~value).bit_length() // 8 + 1
    if least > 8:
        raise ValueError(f"{value} has more than 64 bits")
    kind, size = _INTEGER_TYPES[least]
    return kind, value.to_bytes(size, "big", signed=True)


@lru_cache(maxsize=4096)
def _varint(number: int) -> bytes:
    """Returns a number of at most 56 bits as SQLite's variable-length integer."""
    if number < 128:
        return bytes((number,))
    groups = [number & 127]
    while number := number >> 7:
        groups.append(number & 127 | 128)
    return bytes(reversed(groups))


def _varints(count: int) -> list[bytes]:
    """Returns the variable-length integers of 0 up to, not including, `count`."""
    one = [bytes((number,)) for number in range(min(count, 1 << 7))]
    two = [bytes((n >> 7 | 128, n & 127)) for n in range(1 << 7, min(count, 1 << 14))]
    three = [
        bytes((n >> 14 | 128, n >> 7 & 127 | 128, n & 127))
        for n in range(1 << 14, min(count, 1 << 21))
    ]
    return one + two + three + [_varint(number) for number in range(1 << 21, count)]


def _spans(cells: Sequence[bytes], header_size: int, *, apart: int) -> Iterator[tuple[int, int]]:
    """Yields start and end of the cells of each page, as many as it can hold; at least one page.

    :param apart: how many cells are left out between two pages, as they are for the page above.
    """
    # A pointer of two bytes stands for each cell.
    ends = list(accumulate(map((2).__add__, map(len, cells))))
    start = 0
    while True:
        used = ends[start - 1] if start else 0
        end = bisect_right(ends, used + PAGE_SIZE - header_size, start)
        if end < len(cells) <= end + apart:
            # Nothing would be left for the last page, and only a root may be empty.
            end -= 1
        yield start, end
        if end >= len(cells):
            return
        start = end + apart


def _page(
    kind: int, cells: Sequence[bytes], *, right: Optional[int] = None, before: bytes = b""
) -> bytes:
    """Returns a b-tree page (fileformat2, section 1.6).

    :param right: the rightmost child, for interior pages.
    :param before: the file header, for the first page.
    """
    content = b"".join(cells)
    start = PAGE_SIZE - len(content)
    ends = accumulate(map(len, cells), initial=start)
    head = struct.pack(">BHHHB", kind, 0, len(cells), start, 0)
    if right is not None:
        head += struct.pack(">I", right)
    pointers = struct.pack(f">{len(cells)}H", *list(ends)[:-1])
    return b"".join((before, head, pointers)).ljust(start, b"\0") + content
