"""The dialects of a layer's tar: how names are written, and what else differs between them."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from nixoci.tar import header as tar_header
from nixoci.tar import nix2container as tar_nix2container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Optional


@dataclass(frozen=True)
class Dialect:
    """One way to write the same tree.

    :param encode_header: gives what precedes the contents of an entry; its parameters are those of
        `tar_header.encode_header`. For names that need no pax header, all dialects agree with
        `nixoci.tar.header.whole_header_parts` and `prefixed_header_parts`.
    :param root: what all names start with; if it is not empty, it is an entry as well.
    :param file_mode: `st_mode` of a regular file on the disk → its permission bits.
    :param directory_mode: permission bits of the directories of store paths, or None to keep those of
        the disk.
    :param copied_directory_mode: likewise of those that are copied to the root.
    :param links_have_modes: whether the mode of a permission applies to symbolic links too.
    """

    encode_header: Callable[..., bytes]
    root: bytes
    file_mode: Callable[[int], int]
    directory_mode: Optional[int]
    copied_directory_mode: Optional[int]
    links_have_modes: bool


def nar_mode(mode: int) -> int:
    """Permission bits of a regular file as Nix sets them: a NAR knows only whether its owner may run it.

    :param mode: `st_mode` of the file on the disk.
    """
    return 0o555 if mode & stat.S_IXUSR else 0o444


#: By the names that `recipe.DIALECTS` lists.
DIALECTS = {
    "oci": Dialect(tar_header.encode_header, b"", nar_mode, 0o555, 0o755, False),
    "nix2container": Dialect(
        tar_nix2container.encode_header, b"/", stat.S_IMODE, None, None, True
    ),
}
