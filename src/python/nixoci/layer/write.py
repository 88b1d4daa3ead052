"""Recipe and layer → the bytes of the layer, verified before the last of them leave."""

from __future__ import annotations

from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.tar_of_recipe import pack_recipe, tar_writer
from nixoci.recipe.layer import LayerRecipe
from nixoci.sha256 import sha256
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.output import BUFFER_SIZE
from nixoci.tar.pack import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from nixoci.layer.layer import Layer
    from nixoci.recipe.files import FileEntry
    from nixoci.recipe.recipe import Recipe
    from nixoci.store.case_hack import HasCaseHack


def write_layer(
    recipe: Recipe,
    layer: Layer,
    write: Callable[[memoryview], object],
    *,
    store_root: str = "",
    has_case_hack: HasCaseHack = without_case_hack,
    contents: Optional[str] = None,
) -> int:
    """Streams the bytes of `layer` and verifies them before the last of them leave.

    :param store_root: and `has_case_hack`, see `nixoci.tar.pack.write_tar`.
    :param write: see there. It never gets all of a stream that is not the layer's, nor
        more than `layer.size` bytes.
    :returns: bytes written, which are `layer.size`.
    :raises LayerMismatchError: the bytes differ from what was recorded.
    :raises CompressedBytesError: they do, and the tar is the same.
    :raises InvalidInputError: nothing says how the layer was compressed.
    :raises StoreReadError: and `DuplicateDestinationError`, `CompressorError`, as `digest_layer`.
    """
    layer.require_known_form()

    def changed() -> tuple[str, ...]:
        return _changed(recipe, store_root, contents, has_case_hack)

    if layer.compression is not None:
        from nixoci.layer.compressed import write_compressed_layer

        return write_compressed_layer(
            tar_writer(recipe, store_root, contents, has_case_hack), layer, write, changed
        )
    hasher = sha256()
    buffer = memoryview(bytearray(BUFFER_SIZE))
    written = 0

    def flush(full: memoryview) -> memoryview:
        nonlocal written
        # What is flushed is never the end, so even equality is too much.
        if written + len(full) >= layer.size:
            raise LayerMismatchError(layer, None, changed())
        hasher.update(full)
        write_all(write, full)
        written += len(full)
        return buffer

    size, last = pack_recipe(recipe, buffer, flush, store_root, contents, has_case_hack)
    hasher.update(last)
    digest = "sha256:" + hasher.hexdigest()
    if size != layer.size or digest != layer.digest:
        raise LayerMismatchError(layer, digest, changed())
    write_all(write, last)
    return size


def _changed(
    recipe: Recipe, store_root: str, contents: Optional[str], has_case_hack: HasCaseHack
) -> tuple[str, ...]:
    """Returns what is not as the recipe says: store paths, or paths in the image."""
    if isinstance(recipe, LayerRecipe):
        from nixoci.store.nar import nar_hash

        return tuple(
            entry.path
            for entry in recipe.entries
            if nar_hash(store_root + entry.path, has_case_hack) != entry.nar_hash
        )
    from nixoci.recipe.files import FilesRecipe

    if not isinstance(recipe, FilesRecipe):
        return ()
    return tuple(
        entry.path
        for entry in recipe.entries
        if entry.sha256 is not None and _sha256_of(entry, entry.sha256, contents) != entry.sha256
    )


def _sha256_of(entry: FileEntry, sha256_in_recipe: str, contents: Optional[str]) -> str:
    from nixoci.tar.files import open_contents

    hasher = sha256()
    with open(open_contents(entry, sha256_in_recipe, contents), "rb") as file:
        # A device may have no end.
        left = entry.size + 1
        while left and (part := file.read(min(left, BUFFER_SIZE))):
            hasher.update(part)
            left -= len(part)
    return hasher.hexdigest()
