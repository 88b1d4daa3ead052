"""What the tests of compressed layers share: programs and functions that decompress."""

from __future__ import annotations

import gzip
import subprocess
from typing import Sequence

import zstandard
from nixoci.compression.formats import Compression

from tests.integration.support.tools import tool

#: Formats and levels: the defaults, the lowest, and one at which zstd searches by salted rows.
COMPRESSIONS = tuple(
    Compression.create(name, level)
    for name, level in (("zstd", 1), ("zstd", 3), ("zstd", 7), ("gzip", 1), ("gzip", 6))
)


def decompress(compression: Compression, blob: bytes) -> bytes:
    """Returns what Python makes of a blob."""
    if compression.format == "gzip":
        return gzip.decompress(blob)
    reader = zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True)
    return reader.read()


def decompress_by_program(compression: Compression, blob: bytes) -> bytes:
    """Returns what the program that everybody has makes of a blob."""
    program = tool("zstd") if compression.format == "zstd" else "gzip"
    return subprocess.run([program, "-d", "-c"], input=blob, stdout=subprocess.PIPE, check=True).stdout


def words_of(data: Sequence[int], size: int) -> bytes:
    """Returns `size` bytes that can be compressed, other ones for other data."""
    line = b" ".join(b"%d" % (number * 7919 % 100_003) for number in data) + b"\n"
    block = b"".join(b"%d %s" % (number * number % 9973, line) for number in range(9973))
    return b"".join(b"block %d\n%s" % (n, block) for n in range(size // len(block) + 1))[:size]
