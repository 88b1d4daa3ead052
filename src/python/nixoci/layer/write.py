"""Recipe and layer → the bytes of the layer, verified before the last of them leave."""

from __future__ import annotations

from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.tar_of_recipe import pack_recipe, tar_writer
from nixoci.processes.overlapped_hash import sha256
from nixoci.recipe.layer import LayerRecipe
from nixoci.tar.output import BUFFER_SIZE
from nixoci.tar.pack import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from nixoci.layer.layer import Layer
    from nixoci.recipe.recipe import Recipe
    from nixoci.store.path import StorePath


def write_layer(
    recipe: Recipe,
    layer: Layer,
    write: Callable[[memoryview], object],
    *,
    store_root: str = "",
) -> int:
    """Streams the bytes of `layer` and verifies them before the last of them leave.

    :param write: see `tar.write_tar`. It never gets all of a stream that is not the layer's, nor
        more than `layer.size` bytes.
    :returns: bytes written, which are `layer.size`.
    :raises LayerMismatchError: the bytes differ from what was recorded.
    :raises CompressedBytesError: they do, and the tar is the same.
    :raises InvalidInputError: nothing says how the layer was compressed.
    :raises StoreReadError: and `DuplicateDestinationError`, `CompressorError`, as `digest_layer`.
    """
    layer.require_known_form()
    if layer.compression is not None:
        from nixoci.layer.compressed import write_compressed_layer

        return write_compressed_layer(
            tar_writer(recipe, store_root), layer, write, lambda: _changed(recipe, store_root)
        )
    hasher = sha256()
    buffer = memoryview(bytearray(BUFFER_SIZE))
    written = 0

    def flush(full: memoryview) -> memoryview:
        nonlocal written
        # What is flushed is never the end, so even equality is too much.
        if written + len(full) >= layer.size:
            raise LayerMismatchError(layer, None, _changed(recipe, store_root))
        hasher.update(full)
        write_all(write, full)
        written += len(full)
        return buffer

    size, last = pack_recipe(recipe, buffer, flush, store_root)
    hasher.update(last)
    digest = "sha256:" + hasher.hexdigest()
    if size != layer.size or digest != layer.digest:
        raise LayerMismatchError(layer, digest, _changed(recipe, store_root))
    write_all(write, last)
    return size


def _changed(recipe: Recipe, store_root: str) -> tuple[StorePath, ...]:
    if not isinstance(recipe, LayerRecipe):
        return ()
    from nixoci.store.nar import nar_hash

    return tuple(
        entry.path
        for entry in recipe.entries
        if nar_hash(store_root + entry.path) != entry.nar_hash
    )
