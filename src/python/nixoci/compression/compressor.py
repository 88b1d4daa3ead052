"""The compressors, which are not in the standard library. `nixoci.elf.facts` alone imports such, too.

It is imported only where a layer is compressed, and only the exact version that a `Compression`
names will do.
"""

from __future__ import annotations

import sys

from nixoci.errors import NixOciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from nixoci.compression.formats import Compression

    #: Compresses one chunk by itself. Several threads may call it at the same time.
    CompressChunk = Callable[[bytearray], bytes]

#: The packages that are imported here, in no order.
PACKAGES = ("deflate", "zstandard")


class CompressorError(NixOciError):
    """The compressor that made the bytes of a layer, or is to make them, is not here.

    :param wanted: name and version of the one that is needed.
    :param found: those of the one that is here; None if there is none.
    """

    def __init__(self, wanted: str, found: Optional[str]) -> None:
        self.wanted = wanted
        self.found = found
        here = "it is not installed here" if found is None else f"here is {found}"
        requirement = "==".join(wanted.split()[:2])
        super().__init__(
            f"The bytes of a compressed layer are those that {wanted} makes, and {here} (for "
            f"{sys.executable}). Install it there: `pip install {requirement}`; the compressors of this "
            "release are the extra `pants-backend-nix[compression]`."
        )


def find_compressor(compression: Compression) -> CompressChunk:
    """Returns the function that compresses chunks.

    :raises CompressorError: another version is here, or none.
    """
    module = _zstandard() if compression.format == "zstd" else _deflate()
    found = None if module is None else _describe(module)
    if module is None or found != compression.compressor:
        raise CompressorError(compression.compressor, found)
    level = compression.level
    if compression.format == "gzip":
        return _unlocked_gzip(module, level) or (lambda chunk: module.gzip_compress(chunk, level))

    def compress(chunk: bytearray) -> bytes:
        # Another object for each chunk: one that was used before may find other matches, as zstd
        # salts its hash tables instead of clearing them.
        compressor = module.ZstdCompressor(
            level=level, write_checksum=True, write_content_size=True
        )
        frame: bytes = compressor.compress(chunk)
        return frame

    return compress


def _zstandard() -> Any:
    """Returns the module, or None if it is not here."""
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard


def _deflate() -> Any:
    """Returns the module, or None if it is not here."""
    try:
        import deflate
    except ImportError:
        return None
    return deflate


def _describe(module: Any) -> str:
    """Returns name and version of a compressor, as in `nixoci.compression.formats`."""
    description = f"{module.__name__} {module.__version__}"
    if module.__name__ == "zstandard":
        # A distribution may have built it with another zstd than the wheel brings.
        description += f" (zstd {'.'.join(map(str, module.ZSTD_VERSION))})"
    return description


def _unlocked_gzip(module: Any, level: int) -> Optional[CompressChunk]:
    """Returns a function that calls the libdeflate in the wheel, so that threads do not wait for
    each other; None where it does not show its functions.

    The wheel's own functions keep the interpreter to themselves. They call the same with the same
    arguments, so the bytes are the same.
    """
    try:
        import ctypes

        library = ctypes.CDLL(module._deflate.__file__)
        allocate, free = library.libdeflate_alloc_compressor, library.libdeflate_free_compressor
        bound, gzip = library.libdeflate_gzip_compress_bound, library.libdeflate_gzip_compress
    except (ImportError, OSError, AttributeError):
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    allocate.argtypes, allocate.restype = (ctypes.c_int,), pointer
    free.argtypes, free.restype = (pointer,), None
    bound.argtypes, bound.restype = (pointer, size), size
    gzip.argtypes, gzip.restype = (pointer, pointer, size, pointer, size), size

    def compress(chunk: bytearray) -> bytes:
        compressor = allocate(level)
        if not compressor:
            raise MemoryError
        try:
            length = bound(compressor, len(chunk))
            output = ctypes.create_string_buffer(length)
            source = (ctypes.c_char * len(chunk)).from_buffer(chunk)
            written = gzip(compressor, source, len(chunk), output, length)
        finally:
            free(compressor)
        return memoryview(output)[:written].tobytes()

    return compress
