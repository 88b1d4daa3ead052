"""The seek table at the end of a zstd stream of many frames.

With it, any part of the stream can be read without what is before. It is a skippable frame, which
every decompressor of zstd steps over (zstd, contrib/seekable_format, version 0.1.0).
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

_SKIPPABLE_FRAME = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1

_HEADER = struct.Struct("<II")
_ENTRY = struct.Struct("<II")
#: Number of frames, a descriptor without any flag (each frame has its own checksum), magic number.
_FOOTER = struct.Struct("<IBI")


def seek_table(frames: Sequence[tuple[int, int]]) -> bytes:
    """Returns the table of frames, given as bytes of each, compressed and uncompressed."""
    entries = b"".join(_ENTRY.pack(*frame) for frame in frames)
    footer = _FOOTER.pack(len(frames), 0, _SEEKABLE)
    return _HEADER.pack(_SKIPPABLE_FRAME, len(entries) + len(footer)) + entries + footer
