"""Tests of `nixoci.registry.server.byte_range`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.registry.server.byte_range import (
    ByteRange,
    RangeSentError,
    RangeSink,
    UnsatisfiableRangeError,
    parse_range,
)


@pytest.mark.parametrize(
    "header,expected",
    (
        ("bytes=0-", ByteRange(0, 10)),
        ("bytes=3-", ByteRange(3, 10)),
        ("bytes=3-3", ByteRange(3, 4)),
        ("bytes=3-100", ByteRange(3, 10)),
        ("bytes=-4", ByteRange(6, 10)),
        ("bytes=-100", ByteRange(0, 10)),
        ("Bytes= 1-2 ", ByteRange(1, 3)),
    ),
)
def test_ranges(header: str, expected: ByteRange) -> None:
    """Each form of a single range gives the bytes that RFC 9110 says."""
    assert expected == parse_range(header, 10)


@pytest.mark.parametrize(
    "header",
    (None, "", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "items=0-1", "bytes=a-", "0-1",
     "bytes=" + "9" * 19 + "-", "bytes=٣-"),
)
def test_other_headers_are_ignored(header: str | None) -> None:
    """Who sends something else than one valid range gets the whole."""
    assert parse_range(header, 10) is None


@pytest.mark.parametrize("header,size", (("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)))
def test_ranges_without_a_byte(header: str, size: int) -> None:
    """A range of which no byte exists is an error of its own."""
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, size)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_sink_cuts_any_stream(content: bytes, data: st.DataObject) -> None:
    """However a stream is cut into pieces: the range arrives, the end of all only at `finish`.

    Of a range that ends earlier, no piece behind it is taken.
    """
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start + 1, len(content)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)))))
    received = bytearray()
    dropped: list[None] = []
    sink = RangeSink(
        ByteRange(start, end), len(content), received.extend, lambda: dropped.append(None)
    )
    needed = 0
    try:
        # The buffer is used again, as that of a packer.
        for begin, stop in zip([0, *cuts], [*cuts, len(content)]):
            needed += 1
            buffer = bytearray(content[begin:stop])
            sink.write(buffer)
            buffer[:] = bytes(len(buffer))
    except RangeSentError:
        assert end < len(content)
    else:
        assert end == len(content) and len(received) < end - start
        sink.finish()
    assert content[start:end] == received
    first = [begin for begin in [0, *cuts] if begin < end]
    if end < len(content):
        assert needed == len(first)
        assert len(dropped) == sum(stop <= start or begin == stop
                                   for begin, stop in zip(first, [*cuts, len(content)]))
