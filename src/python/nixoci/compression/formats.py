"""How the tar of a layer is compressed: all that decides the bytes of the blob, besides the tar.

The tar is cut into chunks of a fixed size, and each is compressed by itself, as if nothing were
before it: a frame of zstd, a member of gzip. So the bytes depend on nothing but the tar and what a
`Compression` says; how many threads there are, and which of them is done first, changes none.
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

#: What a setting says for a layer that is not compressed.
NONE = "none"

#: The compressors, by format, as `nixoci.compression.compressor` describes what it finds. The plugin requires
#: exactly these wheels (3rdparty/python), since other versions make other bytes.
ZSTD_COMPRESSOR = "zstandard 0.25.0 (zstd 1.5.7)"
GZIP_COMPRESSOR = "deflate 0.8.1"


@dataclass(frozen=True)
class Format:
    """A format that layers can have.

    :param levels: the lowest and the highest.
    :param chunk_size: bytes of the tar that are compressed by themselves. Larger chunks compress
        better; what can be read without the rest is a chunk.
    """

    media_type: str
    compressor: str
    levels: tuple[int, int]
    default_level: int
    chunk_size: int


#: Media types are those of the OCI image spec, layer.md.
FORMATS = {
    # libdeflate has more levels than zlib, and its 6 is what people expect of `gzip -6`. Its matches
    # reach back 32 KiB, so a chunk of 1 MiB costs nothing that could be seen.
    "gzip": Format(
        "application/vnd.oci.image.layer.v1.tar+gzip", GZIP_COMPRESSOR, (1, 12), 6, 1 << 20
    ),
    # Its matches reach back 2 MiB at the default level, and 8 MiB at the highest.
    "zstd": Format(
        "application/vnd.oci.image.layer.v1.tar+zstd", ZSTD_COMPRESSOR, (1, 22), 3, 4 << 20
    ),
}


@dataclass(frozen=True)
class Compression:
    """How one layer is compressed.

    :param format: one of `FORMATS`.
    :param compressor: the program that makes these bytes, with its version.
    :param chunk_size: bytes of the tar that are compressed by themselves.
    :raises InvalidInputError: another format, or a number that is none for it.
    """

    format: str
    level: int
    compressor: str
    chunk_size: int

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InvalidInputError(
                "compression", self.format, f"expected one of {', '.join((NONE, *FORMATS))}"
            )
        lowest, highest = FORMATS[self.format].levels
        if not lowest <= self.level <= highest:
            raise InvalidInputError(
                "compression level", self.level, f"{self.format} has {lowest} to {highest}"
            )
        # A frame's size is a number of 32 bits in the seek table.
        if not 1 << 16 <= self.chunk_size <= 1 << 30:
            raise InvalidInputError("chunk size", self.chunk_size, "expected 64 KiB to 1 GiB")

    @classmethod
    def create(
        cls, format: str, level: Optional[int] = None, compressor: Optional[str] = None
    ) -> Compression:
        """Returns how this nixoci compresses.

        :param level: None for the default of the format.
        :param compressor: None for the version that this nixoci requires.
        :raises InvalidInputError: as the class.
        """
        known = FORMATS.get(format, FORMATS["zstd"])
        return cls(
            format,
            known.default_level if level is None else level,
            compressor or known.compressor,
            known.chunk_size,
        )

    @property
    def media_type(self) -> str:
        """Of the layer."""
        return FORMATS[self.format].media_type

    def to_document(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {
            "format": self.format,
            "level": self.level,
            "compressor": self.compressor,
            "chunkSize": self.chunk_size,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Compression:
        """Parses what `to_document` returned.

        :raises InvalidInputError: not such a document.
        """
        return cls(
            get_field(document, "format", str),
            get_field(document, "level", int),
            get_field(document, "compressor", str),
            get_field(document, "chunkSize", int),
        )
