"""What of a store path stays out of the tar."""

from __future__ import annotations

import os
import re

from nixoci.recipe.globs import glob_expression

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Optional

    #: Whether something stays out; it gets the path below the store path, as Python reads it.
    Excluded = Callable[[str], bool]


def excluded_by(patterns: tuple[str, ...]) -> Optional[Excluded]:
    """Returns the function that decides; None if nothing stays out.

    :param patterns: those of a recipe.
    """
    if not patterns:
        return None
    fullmatch = re.compile(glob_expression(patterns)).fullmatch

    def excluded(file: str) -> bool:
        if not file.isascii():
            # The same characters whatever the encoding of the file system's names is here.
            file = os.fsencode(file).decode("utf-8", "surrogateescape")
        return fullmatch(file) is not None

    return excluded
