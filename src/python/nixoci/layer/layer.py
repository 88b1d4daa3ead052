"""Layers as registries and engines know them, and the way from a recipe to one."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass, replace

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, parse_object
from nixoci.processes.overlapped_hash import OverlappedSha256, may_fork, sha256
from nixoci.recipe.layer import LayerRecipe
from nixoci.store.path import StorePath
from nixoci.tar.output import BUFFER_SIZE, Flush
from nixoci.tar.pack import pack, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Sequence, Union

    from nixoci.compression.formats import Compression
    from nixoci.recipe.database import DatabaseRecipe

    #: Whatever a layer can be made of.
    Recipe = Union[LayerRecipe, DatabaseRecipe]

MEDIA_TYPE_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Layer:
    """The descriptor of one layer and its diff ID (OCI image spec, descriptor.md and config.md).

    :param digest: `sha256:<hex>` of the blob as it is sent.
    :param size: bytes of the blob.
    :param diff_id: `sha256:<hex>` of the uncompressed tar; equal to `digest` while not compressed.
    :param compression: how the tar becomes the blob; None if it is the blob, or if nobody says.
    :param tar_size: bytes of the tar, of a layer with `compression`.
    """

    digest: str
    size: int
    diff_id: str
    media_type: str = MEDIA_TYPE_LAYER_TAR
    compression: Optional[Compression] = None
    tar_size: Optional[int] = None

    def descriptor(self) -> dict[str, Any]:
        """The descriptor of the blob, as manifests have it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def uncompressed(self) -> Layer:
        """Returns the layer that is the tar itself.

        :raises InvalidInputError: nothing says how this one was compressed.
        """
        self.require_known_form()
        if self.compression is None:
            return self
        assert self.tar_size is not None
        return Layer(self.diff_id, self.tar_size, self.diff_id)

    def require_known_form(self) -> None:
        """Checks that the blob can be made of a recipe.

        :raises InvalidInputError: nothing says how it was compressed.
        """
        if self.compression is None and self.media_type != MEDIA_TYPE_LAYER_TAR:
            raise InvalidInputError(
                "layer", self.digest, f"nothing says how to make its media type, {self.media_type}"
            )

    def to_json(self) -> bytes:
        """The one JSON form of this layer."""
        document = {name: value for name, value in vars(self).items() if value is not None}
        if self.compression is not None:
            document["compression"] = self.compression.to_document()
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Layer:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("layer", data)
        digest, diff_id, media_type = (
            get_field(document, name, str) for name in ("digest", "diff_id", "media_type")
        )
        layer = cls(digest, get_field(document, "size", int), diff_id, media_type)
        if "compression" not in document:
            return layer
        from nixoci.compression.formats import Compression

        compression = Compression.from_document(get_field(document, "compression", dict))
        return replace(
            layer, compression=compression, tar_size=get_field(document, "tar_size", int)
        )


def parse_recipe(data: bytes) -> Recipe:
    """Parses the JSON form of a recipe of either kind.

    :raises InvalidInputError: not such a document.
    """
    if "registrations" not in parse_object("layer recipe", data):
        return LayerRecipe.from_json(data)
    from nixoci.recipe.database import DatabaseRecipe

    return DatabaseRecipe.from_json(data)


class LayerMismatchError(NixOciError):
    """The bytes that the store gives now are not those that the layer was digested from.

    :param layer: what was recorded.
    :param digest: `sha256:<hex>` of the bytes now; None if they were too many, so not all were
        made.
    :param changed: the store paths whose NAR hash is not the recipe's, in the order of the recipe.
    """

    def __init__(
        self, layer: Layer, digest: Optional[str], changed: tuple[StorePath, ...]
    ) -> None:
        self.layer = layer
        self.digest = digest
        self.changed = changed
        now = digest if digest else f"more than {layer.size} bytes"
        if changed:
            names = ", ".join(changed)
            why = f"The contents of these store paths are not those that Nix registered: {names}"
            way_out = "; `nix-store --repair-path` restores them."
        else:
            why = (
                "All store paths are as the recipe says, "
                "so another version made the recorded bytes"
            )
            way_out = "; digest the layer again."
        super().__init__(f"Layer {layer.digest} has now become {now}. {why}{way_out}")


def digest_layer(
    recipe: Recipe,
    *,
    store_root: str = "",
    overlap: bool = True,
    compression: Optional[Compression] = None,
) -> Layer:
    """Returns the layer that `recipe` makes; nothing is written anywhere.

    :param store_root: see `tar.write_tar`.
    :param overlap: hash in a second process while this one packs. It starts only for layers that
        are large enough to gain from it, and never while this process has several threads.
    :param compression: the blob is the tar compressed so; None for the tar itself.
    :raises CompressorError: the compressor is not here.
    :raises StoreReadError: a store path cannot be packed; see its children.
    :raises DuplicateDestinationError: two paths meet in the root of the image.
    :raises HashProcessError: the second process died.
    """
    if compression is not None:
        from nixoci.layer.compressed import compress_layer

        return compress_layer(_tar_writer(recipe, store_root), compression)
    # Packing makes no cycles, and looking for some costs a twentieth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with OverlappedSha256(overlap=overlap) as hasher:
            size, last = _pack(recipe, hasher.buffer, hasher.flush, store_root)
            digest = "sha256:" + hasher.finish(last)
    finally:
        if collecting:
            gc.enable()
    return Layer(digest, size, digest)


def digest_layers(
    recipes: Sequence[Recipe],
    *,
    jobs: int,
    store_root: str = "",
    weights: Optional[Sequence[int]] = None,
) -> list[Layer]:
    """Returns the layers of `recipes`, in their order, digested in processes of their own.

    :param jobs: processes that work at the same time, at least 1.
    :param weights: a measure of the work of each recipe, such as its NAR size. The heaviest starts
        first, so that it does not end last; without weights the given order is kept.
    :raises WorkerProcessError: a process died.
    :raises NixOciError: as `digest_layer`, of the first layer that fails; the others are given up.
    """
    if jobs < 1:
        raise InvalidInputError("jobs", jobs, "expected at least 1")
    order = list(range(len(recipes)))
    if weights is not None:
        order.sort(key=[-weight for weight in weights].__getitem__)
    alone = jobs == 1 or len(recipes) < 2 or not may_fork()
    # With few layers on many processors, a layer may have two processes of its own.
    overlap = jobs > 1 if alone else jobs >= 2 * len(recipes)

    if alone:
        return [digest_layer(recipe, store_root=store_root, overlap=overlap) for recipe in recipes]
    from nixoci.processes.workers import WorkerProcesses

    def work(index: int) -> bytes:
        return digest_layer(recipes[index], store_root=store_root, overlap=overlap).to_json()

    tasks = [f"digests the layer of {_brief(recipe)}" for recipe in recipes]
    return [Layer.from_json(answer) for answer in WorkerProcesses(work, tasks).run(order, jobs)]


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
            _tar_writer(recipe, store_root), layer, write, lambda: _changed(recipe, store_root)
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

    size, last = _pack(recipe, buffer, flush, store_root)
    hasher.update(last)
    digest = "sha256:" + hasher.hexdigest()
    if size != layer.size or digest != layer.digest:
        raise LayerMismatchError(layer, digest, _changed(recipe, store_root))
    write_all(write, last)
    return size


def _pack(
    recipe: Recipe, buffer: memoryview, flush: Flush, store_root: str
) -> tuple[int, memoryview]:
    if isinstance(recipe, LayerRecipe):
        return pack(recipe, buffer, flush, store_root=store_root)
    from nixoci.tar.database import pack_database

    return pack_database(recipe, buffer, flush)


def _tar_writer(
    recipe: Recipe, store_root: str
) -> Callable[[Callable[[memoryview], object]], None]:
    """Returns a function that streams the tar of `recipe`."""

    def write_tar(write: Callable[[memoryview], object]) -> None:
        buffer = memoryview(bytearray(BUFFER_SIZE))

        def flush(full: memoryview) -> memoryview:
            write(full)
            return buffer

        _, last = _pack(recipe, buffer, flush, store_root)
        write(last)

    return write_tar


def _brief(recipe: Recipe) -> str:
    return ", ".join(recipe.paths[:3]) + (", …" if len(recipe.paths) > 3 else "")


def _changed(recipe: Recipe, store_root: str) -> tuple[StorePath, ...]:
    if not isinstance(recipe, LayerRecipe):
        return ()
    from nixoci.store.nar import nar_hash

    return tuple(
        entry.path
        for entry in recipe.entries
        if nar_hash(store_root + entry.path) != entry.nar_hash
    )
