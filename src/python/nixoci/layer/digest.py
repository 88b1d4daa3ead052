"""Recipe → layer: its tar (compressed, if that is asked for) is made and hashed, and written nowhere."""

from __future__ import annotations

import gc

from nixoci.errors import InvalidInputError
from nixoci.layer.layer import Layer
from nixoci.layer.tar_of_recipe import pack_recipe, tar_writer
from nixoci.processes.overlapped_hash import OverlappedSha256, may_fork
from nixoci.sha256 import sha256
from nixoci.store.case_hack import without_case_hack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence

    from nixoci.compression.formats import Compression
    from nixoci.recipe.recipe import Recipe
    from nixoci.store.case_hack import HasCaseHack


def digest_layer(
    recipe: Recipe,
    *,
    store_root: str = "",
    has_case_hack: HasCaseHack = without_case_hack,
    contents: Optional[str] = None,
    overlap: bool = True,
    compression: Optional[Compression] = None,
) -> Layer:
    """Returns the layer that `recipe` makes; nothing is written anywhere.

    :param store_root: and `has_case_hack`, see `nixoci.tar.pack.write_tar`.
    :param contents: directory of the contents of files, see `nixoci.tar.files.open_contents`.
    :param overlap: hash in a second process while this one packs. It starts only for layers that
        are large enough to gain from it, and never while this process has several threads.
    :param compression: the blob is the tar compressed so; None for the tar itself.
    :raises CompressorError: the compressor is not here.
    :raises StoreReadError: a store path cannot be packed; see its children.
    :raises ContentsReadError: the contents of a file cannot be read.
    :raises DuplicateDestinationError: two paths meet in the root of the image.
    :raises HashProcessError: the second process died.
    """
    if compression is not None:
        from nixoci.layer.compressed import compress_layer

        return compress_layer(
            tar_writer(recipe, store_root, contents, has_case_hack), compression
        )
    # Packing makes no cycles, and looking for some costs a twentieth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with OverlappedSha256(overlap=overlap) as hasher:
            size, last = pack_recipe(
                recipe, hasher.buffer, hasher.flush, store_root, contents, has_case_hack
            )
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
    has_case_hack: HasCaseHack = without_case_hack,
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

    def digest(recipe: Recipe) -> Layer:
        return digest_layer(
            recipe, store_root=store_root, has_case_hack=has_case_hack, overlap=overlap
        )

    if alone:
        return [digest(recipe) for recipe in recipes]
    from nixoci.processes.workers import WorkerProcesses

    # OpenSSL is loaded once, and not by each process.
    sha256()

    def work(index: int) -> bytes:
        return digest(recipes[index]).to_json()

    tasks = [f"digests the layer of {_brief(recipe)}" for recipe in recipes]
    return [Layer.from_json(answer) for answer in WorkerProcesses(work, tasks).run(order, jobs)]


def _brief(recipe: Recipe) -> str:
    return ", ".join(recipe.paths[:3]) + (", …" if len(recipe.paths) > 3 else "")
