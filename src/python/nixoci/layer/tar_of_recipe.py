"""The tar of a recipe, of whatever kind it is."""

from __future__ import annotations

from nixoci.errors import InvalidInputError
from nixoci.recipe.layer import LayerRecipe
from nixoci.store.case_hack import without_case_hack
from nixoci.tar.output import BUFFER_SIZE
from nixoci.tar.pack import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from nixoci.recipe.recipe import Recipe
    from nixoci.store.case_hack import HasCaseHack
    from nixoci.tar.output import Flush


def pack_recipe(
    recipe: Recipe,
    buffer: memoryview,
    flush: Flush,
    store_root: str,
    contents: Optional[str],
    has_case_hack: HasCaseHack = without_case_hack,
) -> tuple[int, memoryview]:
    """As `nixoci.tar.pack.pack`, for a recipe of any kind.

    :param contents: directory of the contents of files, see `nixoci.tar.files`.
    """
    if isinstance(recipe, LayerRecipe):
        return pack(
            recipe, buffer, flush, store_root=store_root, has_case_hack=has_case_hack
        )
    # Most layers are of store paths; what the other kinds need is only loaded for them.
    from nixoci.recipe.files import FilesRecipe

    if isinstance(recipe, FilesRecipe):
        from nixoci.tar.files import pack_files

        return pack_files(recipe, buffer, flush, contents=contents)
    from nixoci.recipe.database import DatabaseRecipe
    from nixoci.tar.database import pack_database

    if not isinstance(recipe, DatabaseRecipe):
        raise InvalidInputError("layer", recipe.digest, "it is copied, and not packed")
    return pack_database(recipe, buffer, flush)


def tar_writer(
    recipe: Recipe,
    store_root: str,
    contents: Optional[str],
    has_case_hack: HasCaseHack = without_case_hack,
) -> Callable[[Callable[[memoryview], object]], None]:
    """Returns a function that streams the tar of `recipe`."""

    def write_tar(write: Callable[[memoryview], object]) -> None:
        buffer = memoryview(bytearray(BUFFER_SIZE))

        def flush(full: memoryview) -> memoryview:
            write(full)
            return buffer

        _, last = pack_recipe(recipe, buffer, flush, store_root, contents, has_case_hack)
        write(last)

    return write_tar
