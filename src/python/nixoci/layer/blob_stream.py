"""The bytes of a blob that come from elsewhere, perhaps from one place after the other: verified on their way."""

from __future__ import annotations

import os
import stat

from nixoci.errors import InvalidInputError
from nixoci.layer.mismatch import BlobDiffersError
from nixoci.sha256 import sha256
from nixoci.tar.output import BUFFER_SIZE
from nixoci.tar.pack import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from nixoci.layer.layer import Layer
    from nixoci.recipe.blob import BlobRecipe


class BlobStream:
    """Passes a blob on. The last part of it is kept back until all of it is verified.

    :param write: as of `nixoci.layer.write.write_layer`; it never gets all of what is not the blob.
    """

    def __init__(self, layer: Layer, write: Callable[[memoryview], object]) -> None:
        self._layer = layer
        self._write = write
        self._hasher = sha256()
        self._held = b""
        #: Bytes so far. Whoever has the blob too can go on from there.
        self.received = 0
        #: Where they came from.
        self.sources: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether there are as many bytes as the blob has."""
        return self.received == self._layer.size

    def take(self, part: memoryview, source: str) -> None:
        """Takes the next bytes.

        :raises BlobDiffersError: they are too many.
        """
        if not part:
            return
        if source not in self.sources:
            self.sources.append(source)
        if self.received + len(part) > self._layer.size:
            raise self._differs()
        write_all(self._write, memoryview(self._held))
        self._held = bytes(part)
        self._hasher.update(part)
        self.received += len(part)

    def finish(self) -> int:
        """Verifies the blob, passes on the rest of it, and returns its size.

        :raises BlobDiffersError: it is another one.
        """
        digest = "sha256:" + self._hasher.hexdigest()
        if not self.is_complete or digest != self._layer.digest:
            raise self._differs()
        write_all(self._write, memoryview(self._held))
        return self.received

    def _differs(self) -> BlobDiffersError:
        return BlobDiffersError(self._layer.digest, " and ".join(self.sources))


def write_blob_of_file(
    recipe: BlobRecipe,
    layer: Layer,
    write: Callable[[memoryview], object],
    contents: Optional[str],
) -> int:
    """Streams a blob out of a file.

    :param contents: the directory that `recipe.file` is in.
    :returns: bytes written.
    :raises InvalidInputError: there is no such file, or it is too short.
    :raises BlobDiffersError: it has something else there.
    """
    what = f"file of layer {layer.digest}"
    if contents is None:
        raise InvalidInputError(what, recipe.file, "the directory with it must be given (--contents)")
    path = os.path.join(contents, recipe.file)
    stream = BlobStream(layer, write)
    try:
        with open(path, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInputError(what, path, "it is no regular file")
            file.seek(recipe.offset)
            buffer = memoryview(bytearray(BUFFER_SIZE))
            while not stream.is_complete:
                count = file.readinto(buffer[: layer.size - stream.received])
                if not count:
                    raise InvalidInputError(what, path, "it is too short")
                stream.take(buffer[:count], path)
    except OSError as error:
        raise InvalidInputError(what, path, str(error.strerror)) from None
    return stream.finish()
