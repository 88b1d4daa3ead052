"""Compressed streams: the same bytes whatever the parts and threads, readable by everybody."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Sequence

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.compression.compressor import CompressorError, find_compressor
from nixoci.compression.formats import Compression
from nixoci.compression.stream import CompressedStream

from tests.nixoci.compression.compression_support import (
    COMPRESSIONS,
    decompress,
    decompress_by_program,
    words_of,
)

UNHURRIED = settings(deadline=None, max_examples=40)


def compressed(
    compression: Compression, parts: Sequence[bytes], threads: int = 1
) -> tuple[bytes, str, int]:
    """Returns the blob, and digest and size of what went in."""
    blob = bytearray()
    with CompressedStream(compression, blob.extend, threads=threads) as stream:
        for part in parts:
            stream.write(memoryview(part))
        stream.finish()
        return bytes(blob), stream.digest, stream.size


@UNHURRIED
@given(
    st.sampled_from(COMPRESSIONS),
    st.lists(st.binary(max_size=3) | st.integers(1, 200_000).map(lambda n: words_of([n], n))),
    st.integers(1, 4),
)
def test_it_is_a_function_of_the_stream(
    compression: Compression, parts: list[bytes], threads: int
) -> None:
    """Neither threads nor the cuts between parts change a byte, and all comes back."""
    compression = replace(compression, chunk_size=1 << 16)
    data = b"".join(parts)
    blob, digest, size = compressed(compression, parts, threads)
    assert compressed(compression, [data])[0] == blob
    assert (digest, size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    if data:
        assert decompress(compression, blob) == data


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: f"{c.format}-{c.level}")
@pytest.mark.parametrize("chunks", [0.5, 1, 1.5, 3])
def test_programs_read_it(compression: Compression, chunks: float) -> None:
    """`zstd` and `gzip` read streams of any number of frames, also full ones."""
    data = words_of([1, 2], int(compression.chunk_size * chunks))
    blobs = {compressed(compression, [data], threads)[0] for threads in (1, 2, 5)}
    (blob,) = blobs
    assert len(blob) < len(data) / 2
    assert decompress(compression, blob) == data
    assert decompress_by_program(compression, blob) == data


def test_any_chunk_can_be_read_alone() -> None:
    """The seek table at the end of a zstd stream says where each frame is."""
    compression = replace(Compression.create("zstd"), chunk_size=1 << 16)
    data = words_of([3], 300_000)
    blob = compressed(compression, [data], 2)[0]
    frames, flags, magic = struct.unpack("<IBI", blob[-9:])
    assert (frames, flags, magic) == (5, 0, 0x8F92EAB1)
    table = len(blob) - 9 - 8 * frames
    assert struct.unpack("<II", blob[table - 8 : table]) == (0x184D2A5E, 9 + 8 * frames)
    start = offset = 0
    for packed, size in struct.iter_unpack("<II", blob[table:-9]):
        frame = blob[start : start + packed]
        assert zstandard.ZstdDecompressor().decompress(frame) == data[offset : offset + size]
        start += packed
        offset += size
    assert (start, offset) == (table - 8, len(data))


def test_the_libraries_own_function_makes_the_same_gzip() -> None:
    """What is called past the interpreter's lock is what the wheel's function calls."""
    import deflate

    data = bytearray(words_of([4], 1 << 20))
    for level in (1, 6, 12):
        compress = find_compressor(Compression.create("gzip", level))
        assert compress(data) == deflate.gzip_compress(bytes(data), level)
    assert compress(bytearray(b"x")) == deflate.gzip_compress(b"x", 12)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_another_version_is_refused(name: str) -> None:
    """The error says which version made the bytes, which is here, and how to get the first."""
    here = Compression.create(name)
    package = here.compressor.split()[0]
    wanted = replace(here, compressor=f"{package} 0.1.2")
    with pytest.raises(CompressorError) as caught:
        find_compressor(wanted)
    assert (caught.value.wanted, caught.value.found) == (f"{package} 0.1.2", here.compressor)
    for words in (f"{package} 0.1.2 makes", here.compressor, f"pip install {package}==0.1.2"):
        assert words in str(caught.value)


def test_what_the_receiver_raises_comes_out() -> None:
    """And nothing is left behind that could hold the program up."""
    compression = replace(Compression.create("zstd"), chunk_size=1 << 16)

    class Refused(Exception):
        pass

    def refuse(data: bytes) -> None:
        raise Refused

    with pytest.raises(Refused):
        with CompressedStream(compression, refuse, threads=2) as stream:
            for _ in range(100):
                stream.write(memoryview(words_of([5], 100_000)))
