"""Layers whose bytes are kept, since building their store paths again would give others.

A kept layer is a file, compressed only to be small: the layer itself is what comes out of it.
"""

from __future__ import annotations

import os
import stat
import zlib

from nixoci.atomic import replace_file
from nixoci.errors import InvalidInputError
from nixoci.layer.layer import Layer
from nixoci.sha256 import sha256
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.output import BUFFER_SIZE
from nixoci.tar.pack import write_all, write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Callable, Iterator, Optional

    from nixoci.compression.formats import Compression
    from nixoci.recipe.layer import LayerRecipe
    from nixoci.store.case_hack import HasCaseHack

#: As `wbits` of zlib: the format of gzip.
_GZIP = 31


def kept_name(recipe: LayerRecipe) -> str:
    """Returns the name of the file that keeps the layer of a recipe."""
    return f"{sha256(recipe.to_json()).hexdigest()}.tar.gz"


def is_kept(directory: Optional[str], recipe: LayerRecipe) -> bool:
    """Whether the layer of a recipe is kept in `directory`."""
    return directory is not None and os.path.exists(os.path.join(directory, kept_name(recipe)))


def keep_layer(
    recipe: LayerRecipe,
    path: str,
    *,
    store_root: str = "",
    has_case_hack: HasCaseHack = without_case_hack,
) -> Layer:
    """Writes the file that keeps the layer of `recipe`, and returns the layer.

    :param store_root: and `has_case_hack`, see `nixoci.tar.pack.write_tar`.
    :raises StoreReadError: and others, as `nixoci.layer.digest.digest_layer`.
    :raises OutputError: the file cannot be written.
    """
    hasher = sha256()
    # Little is gained by trying harder, and all of it is read again soon.
    compressor = zlib.compressobj(level=1, wbits=_GZIP)
    with replace_file(path) as file:

        def write(part: memoryview) -> None:
            hasher.update(part)
            file.write(compressor.compress(part))

        size = write_tar(recipe, write, store_root=store_root, has_case_hack=has_case_hack)
        file.write(compressor.flush())
    digest = "sha256:" + hasher.hexdigest()
    return Layer(digest, size, digest)


def digest_kept_layer(
    directory: str, recipe: LayerRecipe, compression: Optional[Compression] = None
) -> Layer:
    """Returns the layer that is kept in `directory`: that of its tar, or compressed.

    :raises InvalidInputError: there is no such file, or it is damaged.
    :raises CompressorError: the compressor is not here.
    """
    path = os.path.join(directory, kept_name(recipe))

    def write_tar(write: Callable[[memoryview], object]) -> None:
        try:
            with _open(path) as file:
                for part in _decompressed(file, path):
                    write(memoryview(part))
        except FileNotFoundError:
            raise InvalidInputError("kept layer", path, "there is no such file") from None

    if compression is not None:
        from nixoci.layer.compressed import compress_layer

        return compress_layer(write_tar, compression)
    hasher = sha256()
    size = 0

    def update(part: memoryview) -> None:
        nonlocal size
        hasher.update(part)
        size += len(part)

    write_tar(update)
    digest = "sha256:" + hasher.hexdigest()
    return Layer(digest, size, digest)


def write_kept_layer(
    directory: str,
    recipe: LayerRecipe,
    layer: Layer,
    write: Callable[[memoryview], object],
) -> Optional[int]:
    """Streams a layer out of the file in `directory` that keeps it, verified.

    :param write: as for `nixoci.layer.write.write_layer`; it never gets all of what is not the layer.
    :returns: bytes written; None if there is no such file.
    :raises InvalidInputError: the file is not that of the layer.
    :raises CompressedBytesError: and `CompressorError`, as `nixoci.layer.write.write_layer`.
    """
    if layer.compression is not None and is_kept(directory, recipe):
        from nixoci.layer.compressed import write_compressed_layer

        tar = layer.uncompressed()
        return write_compressed_layer(
            lambda write_tar: write_kept_layer(directory, recipe, tar, write_tar), layer, write
        )
    path = os.path.join(directory, kept_name(recipe))
    try:
        file = _open(path)
    except FileNotFoundError:
        return None
    hasher = sha256()
    written = 0
    last = b""
    with file:
        for part in _decompressed(file, path):
            hasher.update(part)
            if written + len(last) + len(part) > layer.size:
                raise InvalidInputError("kept layer", path, "it is too long")
            write_all(write, memoryview(last))
            written += len(last)
            last = part
    if "sha256:" + hasher.hexdigest() != layer.digest or written + len(last) != layer.size:
        raise InvalidInputError("kept layer", path, f"its contents are not {layer.digest}")
    write_all(write, memoryview(last))
    return layer.size


def _open(path: str) -> BinaryIO:
    """Opens the file that keeps a layer.

    :raises FileNotFoundError: there is none.
    :raises InvalidInputError: something else is there (a pipe, into which nobody may write), or it cannot
        be read.
    """
    try:
        file = open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidInputError("kept layer", path, str(error.strerror)) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidInputError("kept layer", path, "it is no regular file")
    return file


def _decompressed(file: BinaryIO, path: str) -> Iterator[bytes]:
    """Yields the tar in a file that keeps a layer, part by part.

    :raises InvalidInputError: the file is damaged.
    """
    decompressor = zlib.decompressobj(wbits=_GZIP)
    try:
        while not decompressor.eof:
            data = decompressor.unconsumed_tail or file.read(BUFFER_SIZE)
            if not data:
                raise InvalidInputError("kept layer", path, "it ends too early")
            part = decompressor.decompress(data, BUFFER_SIZE)
            if part:
                yield part
    except (zlib.error, OSError) as error:
        raise InvalidInputError("kept layer", path, str(error)) from None
