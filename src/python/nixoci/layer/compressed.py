"""From the tar of a layer to its compressed blob: digested at first, verified ever after."""

from __future__ import annotations

from nixoci.compression.stream import CompressedStream
from nixoci.errors import NixOciError
from nixoci.layer.layer import Layer
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.sha256 import sha256
from nixoci.tar.pack import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Sequence

    from nixoci.compression.formats import Compression

    #: Takes a stream part by part.
    Write = Callable[[memoryview], object]
    #: Streams a tar into a function.
    WriteTar = Callable[[Write], object]


class CompressedBytesError(NixOciError):
    """The tar is the recorded one, and what the compressor makes of it is not.

    :param layer: what was recorded.
    :param digest: `sha256:<hex>` of the blob now.
    """

    def __init__(self, layer: Layer, digest: str) -> None:
        self.layer = layer
        self.digest = digest
        compression = layer.compression
        assert compression is not None
        super().__init__(
            f"Layer {layer.digest} has now become {digest}, although its tar is the same: "
            f"{compression.format} at level {compression.level} was made by "
            f"{compression.compressor}, and the one here makes other bytes. Install the wheel of it "
            "that the package index has, or package the image again."
        )


def compress_layer(
    write_tar: WriteTar, compression: Compression, *, threads: Optional[int] = None
) -> Layer:
    """Returns the layer that a tar becomes; nothing is written anywhere.

    :param write_tar: streams the tar into the function that it gets; what it raises comes out.
    :param threads: to compress with; they change no byte.
    :raises CompressorError: the compressor is not here.
    """
    hasher = sha256()
    size = 0

    def emit(data: bytes) -> None:
        nonlocal size
        hasher.update(data)
        size += len(data)

    with CompressedStream(compression, emit, threads=threads) as stream:
        write_tar(stream.write)
        stream.finish()
        return Layer(
            "sha256:" + hasher.hexdigest(),
            size,
            stream.digest,
            compression.media_type,
            compression,
            stream.size,
        )


def write_compressed_layer(
    write_tar: WriteTar,
    layer: Layer,
    write: Write,
    changed: Callable[[], Sequence[str]] = tuple,
    *,
    threads: Optional[int] = None,
) -> int:
    """Streams the bytes of a compressed layer and verifies them before the last of them leave.

    :param write_tar: and `threads`, as of `compress_layer`.
    :param write: as of `nixoci.layer.write.write_layer`; it never gets all of what is not the layer.
    :param changed: finds what is to blame for a tar that is another one.
    :returns: bytes written, which are `layer.size`.
    :raises LayerMismatchError: the tar is another one.
    :raises CompressedBytesError: the tar is the same, its compressed form is not.
    :raises CompressorError: the compressor is not here; nothing was written then.
    """
    assert layer.compression is not None
    hasher = sha256()
    size = 0
    held = b""

    def emit(data: bytes) -> None:
        nonlocal size, held
        hasher.update(data)
        size += len(data)
        # What is too much is not the layer's, but the whole tar tells why.
        if size <= layer.size:
            write_all(write, memoryview(held))
            held = data

    with CompressedStream(layer.compression, emit, threads=threads) as stream:
        write_tar(stream.write)
        stream.finish()
        diff_id = stream.digest
    digest = "sha256:" + hasher.hexdigest()
    if diff_id != layer.diff_id:
        raise LayerMismatchError(layer, digest, changed())
    if size != layer.size or digest != layer.digest:
        raise CompressedBytesError(layer, digest)
    write_all(write, memoryview(held))
    return size
