"""File capabilities as a tar has them: the extended attribute in which the kernel looks for them."""

from __future__ import annotations

import struct

from nixoci.recipe.capabilities import CAPABILITIES, capability_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: The keyword of the pax record whose value is a file's `capability_value`.
CAPABILITY_KEYWORD = b"SCHILY.xattr.security.capability"

#: `VFS_CAP_REVISION_2` and `VFS_CAP_FLAGS_EFFECTIVE` of `linux/capability.h`.
_MAGIC = 0x02000000 | 0x000001
_WORD = 0xFFFFFFFF


def capability_value(names: Iterable[str]) -> bytes:
    """Returns what `setcap cap_net_raw,…+ep` writes to `security.capability`: 20 bytes.

    The capabilities are permitted, and effective from the start, for whoever runs the file.

    :raises InvalidInputError: a name that is not known.
    """
    permitted = sum(1 << CAPABILITIES[name] for name in capability_names(tuple(names)))
    # A word of permitted and one of inheritable ones, twice: the lower 32 capabilities come first.
    return struct.pack("<5I", _MAGIC, permitted & _WORD, 0, permitted >> 32, 0)
