"""Which names the files of a directory have in a layer."""

from __future__ import annotations

from nixoci.recipe.reserved import WHITEOUT
from nixoci.store.case_hack import NoTrueNameError, by_true_name, true_names
from nixoci.tar.errors import CaseHackError, ReservedNameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Optional

    from nixoci.store.case_hack import HasCaseHack
    from nixoci.store.path import StorePath
    from nixoci.tar.excludes import Excluded


def names_in_layer(
    path: StorePath,
    below: str,
    names: Iterable[str],
    excluded: Optional[Excluded],
    has_case_hack: HasCaseHack,
) -> dict[str, str]:
    """Returns the names on the disk of what goes into the layer, by the names that it has there.

    :param path: the store path that the directory is in.
    :param below: the directory's path below it, with a final slash; empty for the store path itself.
    :param names: all of the directory, as they are on the disk.
    :param excluded: whether something below the store path stays out; it is asked with true names.
    :raises ReservedNameError: a name would delete something.
    :raises CaseHackError: a name has no true name of its own, see `nixoci.store.case_hack`.
    """
    pairs = true_names(names, has_case_hack)
    if excluded is not None:
        pairs = [pair for pair in pairs if not excluded(below + pair[0])]
    try:
        found = by_true_name(pairs)
    except NoTrueNameError as error:
        raise CaseHackError(path, below.rstrip("/"), error.names, error.why) from None
    reserved = [name for name in found if name.startswith(WHITEOUT)]
    if reserved:
        raise ReservedNameError(path, below + reserved[0])
    return found
