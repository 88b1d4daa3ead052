"""What an ELF file says of itself that decides what a dynamic loader looks for.

Files are data until they are known to be something else: nothing in one can make its reading fail, go on
for long, or use much memory.
"""

from __future__ import annotations

import io
import struct
import sys
from dataclasses import dataclass

from nixoci.errors import NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Mapping, Optional

#: The packages that are imported here, by the names that Python knows.
PACKAGES = ("elftools",)

_MAGIC = b"\x7fELF"

#: What is read of one file at most: far more than what any linker writes, and soon over.
_MOST_READS = 50_000
_MOST_BYTES = 8 << 20
_MOST_BYTES_AT_ONCE = 64 << 10

#: Bytes of a string of a file at most; search paths of a Nix package have thousands.
_MOST_STRING = 256 << 10


class ElfReaderError(NixOciError):
    """The package that reads ELF files is not installed for this Python."""

    def __init__(self) -> None:
        super().__init__(
            f"ELF files are read with pyelftools, which is not installed here (for {sys.executable}). "
            "Install it there: `pip install pyelftools`, as the package index has it."
        )


@dataclass(frozen=True)
class ElfFacts:
    """What the dynamic loader finds in a program or a library. Strings are as the file has them.

    :param machine: its name in the ELF specification, such as `EM_X86_64`; `EM_` and the number for one
        without a name.
    :param bits: 32 or 64.
    :param interpreter: path of the loader (PT_INTERP). Programs have one; so have a few libraries.
    :param soname: DT_SONAME.
    :param needed: each DT_NEEDED, in the order of the file.
    :param rpath: directories of DT_RPATH; empty ones are left out. `runpath` likewise, of DT_RUNPATH.
    """

    machine: str
    bits: int
    interpreter: Optional[str] = None
    soname: Optional[str] = None
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()

    @property
    def is_program(self) -> bool:
        """Whether the kernel can start it. A library that names a loader is a library."""
        return self.interpreter is not None and self.soname is None

    def to_document(self) -> dict[str, Any]:
        """Returns the JSON form: what is absent or empty is left out."""
        document: dict[str, Any] = {"machine": self.machine, "bits": self.bits}
        for name in ("interpreter", "soname"):
            if getattr(self, name) is not None:
                document[name] = getattr(self, name)
        for name in ("needed", "rpath", "runpath"):
            if getattr(self, name):
                document[name] = list(getattr(self, name))
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ElfFacts:
        """Parses what `to_document` returned.

        :raises InvalidInputError: not such a document.
        """
        return cls(
            get_field(document, "machine", str),
            get_field(document, "bits", int),
            get_field(document, "interpreter", str, default=None),
            get_field(document, "soname", str, default=None),
            tuple(get_list(document, "needed", str, default=[])),
            tuple(get_list(document, "rpath", str, default=[])),
            tuple(get_list(document, "runpath", str, default=[])),
        )


def facts_to_json(facts: Mapping[str, ElfFacts]) -> bytes:
    """Returns the one JSON form of the facts of files, by any name of theirs."""
    return canonical_json(
        "facts of ELF files", {name: known.to_document() for name, known in facts.items()}
    )


def facts_from_json(data: bytes) -> dict[str, ElfFacts]:
    """Parses what `facts_to_json` returned.

    :raises InvalidInputError: not such a document.
    """
    document = parse_object("facts of ELF files", data)
    return {name: ElfFacts.from_document(get_field(document, name, dict)) for name in document}


def read_elf(path: str) -> Optional[ElfFacts]:
    """Reads a file; a few bytes of it if it is no ELF file.

    :returns: None for what no dynamic loader has to do with: no ELF file, a malformed or truncated one
        (data may begin like one), a static program, an object file, a core dump, separate debug information.
    :raises ElfReaderError: it is an ELF file, and pyelftools is not here.
    :raises NixOciError: the operating system refused.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            return _read(file)
    except OSError as error:
        raise NixOciError(f"Cannot read {path}: {error.strerror}.") from None


class _TooMuchError(Exception):
    """More would have to be read of a file than an honest one has."""


class _Frugal:
    """A file as pyelftools reads it, which ends the reading when it was enough.

    Counts, offsets and strings of a file lead anywhere; whatever they say, this is the end of it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads = _MOST_READS
        self._bytes = _MOST_BYTES

    def read(self, size: int = -1) -> bytes:
        self._reads -= 1
        self._bytes -= size
        if not 0 <= size <= _MOST_BYTES_AT_ONCE or self._reads < 0 or self._bytes < 0:
            raise _TooMuchError
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            # An offset that no file system has.
            raise ValueError(str(error)) from None

    def tell(self) -> int:
        return self._file.tell()


def _read(file: BinaryIO) -> Optional[ElfFacts]:
    make: Any
    parse: Any
    try:
        from elftools.common.exceptions import ELFError
        from elftools.common.utils import struct_parse as parse
        from elftools.construct import ConstructError
        from elftools.elf.elffile import ELFFile as make
    except ImportError:
        raise ElfReaderError from None
    # What pyelftools raises where a file makes no sense; the last four where it takes a value for granted.
    malformed = (
        *(ELFError, ConstructError, _TooMuchError, struct.error, OverflowError, ValueError),
        *(AssertionError, AttributeError, LookupError, TypeError),
    )
    try:
        return _facts(make(_Frugal(file)), parse)
    except malformed:
        return None


def _facts(elf: Any, parse: Any) -> Optional[ElfFacts]:
    """Returns what a file says, or None as `read_elf` does.

    :param elf: the file to pyelftools.
    :param parse: its function that reads a structure at an offset. Both have no types.
    """
    if elf["e_type"] not in ("ET_EXEC", "ET_DYN"):
        return None
    # As loaders do, this reads no section headers: `strip` and others take them away.
    header = elf.structs.Elf_Phdr
    if elf["e_phentsize"] < header.sizeof():
        return None
    segments = [
        parse(header, elf.stream, elf["e_phoff"] + number * elf["e_phentsize"])
        for number in range(elf.num_segments())
    ]
    loaded = [
        (segment["p_vaddr"], segment["p_filesz"], segment["p_offset"])
        for segment in segments
        if segment["p_type"] == "PT_LOAD"
    ]
    # In separate debug information, segments have no bytes.
    of_type = {segment["p_type"]: segment for segment in reversed(segments) if segment["p_filesz"]}
    interpreter = None
    if "PT_INTERP" in of_type:
        interpreter = _string(elf.stream, of_type["PT_INTERP"]["p_offset"])
    dynamic = of_type.get("PT_DYNAMIC")
    if dynamic is None and not interpreter:
        return None
    values: dict[str, list[int]] = {}
    if dynamic is not None:
        entry = elf.structs.Elf_Dyn
        for number in range(dynamic["p_filesz"] // entry.sizeof()):
            tag = parse(entry, elf.stream, dynamic["p_offset"] + number * entry.sizeof())
            if tag["d_tag"] == "DT_NULL":
                break
            values.setdefault(tag["d_tag"], []).append(tag["d_val"])

    def strings(tag: str) -> tuple[str, ...]:
        offsets = values.get(tag, ())
        table = _file_offset(values["DT_STRTAB"][-1], loaded) if offsets else 0
        return tuple(_string(elf.stream, table + offset) for offset in offsets)

    def directories(tag: str) -> tuple[str, ...]:
        return tuple(filter(None, ":".join(strings(tag)).split(":")))

    machine = elf["e_machine"]
    soname = strings("DT_SONAME")
    return ElfFacts(
        machine if isinstance(machine, str) else f"EM_{machine}",
        elf.elfclass,
        interpreter or None,
        soname[-1] if soname else None,
        tuple(filter(None, strings("DT_NEEDED"))),
        directories("DT_RPATH"),
        directories("DT_RUNPATH"),
    )


def _file_offset(address: int, loaded: list[tuple[int, int, int]]) -> int:
    """Returns where in the file is what is loaded to an address.

    :raises ValueError: nothing is.
    """
    for start, size, offset in loaded:
        if start <= address < start + size:
            return offset + address - start
    raise ValueError("no segment has this address")


def _string(stream: Any, offset: int) -> str:
    """Returns the text from an offset to the next NUL.

    :raises ValueError: there is none in time, or the text is not UTF-8.
    """
    stream.seek(offset)
    text = b""
    while len(text) < _MOST_STRING:
        chunk = stream.read(256)
        before, end, _ = chunk.partition(b"\0")
        text += before
        if end:
            return text.decode()
        if not chunk:
            break
    raise ValueError("a string has no end")
