"""ELF files without a compiler: the parts that a dynamic loader reads, and nothing else."""

from __future__ import annotations

import struct
from typing import Iterable, Optional, Sequence

X86_64 = 62

_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5
_DT_SONAME, _DT_RPATH, _DT_RUNPATH = 14, 15, 29
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3

#: Where the file is loaded to.
_ADDRESS = 0x400000


def elf_bytes(
    *,
    needed: Sequence[str] = (),
    soname: Optional[str] = None,
    interpreter: Optional[str] = None,
    rpath: Optional[str] = None,
    runpath: Optional[str] = None,
    bits: int = 64,
    little: bool = True,
    machine: int = X86_64,
    kind: int = 3,
    dynamic: bool = True,
    more_tags: Iterable[tuple[int, int]] = (),
    end: bool = True,
) -> bytes:
    """Returns an ELF file.

    :param kind: 2 is a program, 3 a library or a program, 1 an object file, 4 a core dump.
    :param dynamic: whether there is PT_DYNAMIC at all.
    :param more_tags: of the dynamic part, before all others.
    :param end: whether DT_NULL ends the dynamic part.
    """
    order = "<" if little else ">"
    word = "Q" if bits == 64 else "I"
    header_size, segment_size = (64, 56) if bits == 64 else (52, 32)
    strings = b"\0"

    def add(text: str) -> int:
        nonlocal strings
        offset = len(strings)
        strings += text.encode() + b"\0"
        return offset

    tags = [*more_tags, *((_DT_NEEDED, add(name)) for name in needed)]
    for tag, value in ((_DT_SONAME, soname), (_DT_RPATH, rpath), (_DT_RUNPATH, runpath)):
        if value is not None:
            tags.append((tag, add(value)))
    count = 1 + dynamic + (interpreter is not None)
    dynamic_at = header_size + count * segment_size
    dynamic_size = (len(tags) + 1 + end) * (16 if bits == 64 else 8) if dynamic else 0
    strings_at = dynamic_at + dynamic_size
    tags.append((_DT_STRTAB, _ADDRESS + strings_at))
    if end:
        tags.append((_DT_NULL, 0))
    interpreter_at = strings_at + len(strings)
    loader = b"" if interpreter is None else interpreter.encode() + b"\0"
    size = interpreter_at + len(loader)

    def segment(type: int, offset: int, length: int) -> bytes:
        address = _ADDRESS + offset
        if bits == 64:
            return struct.pack(order + "IIQQQQQQ", type, 5, offset, address, address, length, length, 8)
        return struct.pack(order + "IIIIIIII", type, offset, address, address, length, length, 5, 4)

    segments = [segment(_PT_LOAD, 0, size)]
    if dynamic:
        segments.append(segment(_PT_DYNAMIC, dynamic_at, dynamic_size))
    if interpreter is not None:
        segments.append(segment(_PT_INTERP, interpreter_at, len(loader)))
    identity = b"\x7fELF" + bytes([bits // 32, 1 if little else 2, 1]) + bytes(9)
    header = struct.pack(
        order + "HHI" + word * 3 + "IHHHHHH",
        *(kind, machine, 1, _ADDRESS, header_size, 0),
        *(0, header_size, segment_size, len(segments), 0, 0, 0),
    )
    body = b"".join(struct.pack(order + word * 2, *tag) for tag in tags) if dynamic else b""
    return identity + header + b"".join(segments) + body + strings + loader
