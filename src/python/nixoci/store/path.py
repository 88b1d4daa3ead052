"""Store paths: `/nix/store/<32 base-32 digits>-<name>`."""

from __future__ import annotations

import re

from nixoci.errors import InvalidInputError

#: The only store directory that is supported. Nix can be built with another one, but then nothing
#: of a binary cache fits, and an image's programs would look for their libraries elsewhere.
STORE_DIR = "/nix/store"

#: Nix's base-32 alphabet has no `e`, `o`, `t` or `u` (libutil/hash.cc).
_BASE_NAME = re.compile(r"[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+\-._?=]{1,211}")

#: Names that Nix refuses since they could be taken for a relative path (libstore/path.cc).
_FORBIDDEN_NAME = re.compile(r"\.\.?(-.*)?")


class StorePath(str):
    """The absolute path of one store object, parsed and valid.

    A `str`, so it sorts, hashes and serialises as one; made by `StorePath.parse` only.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> StorePath:
        """Returns `text` as a store path.

        :param text: an absolute path such as `/nix/store/…-hello`, without anything below it.
        :raises InvalidInputError: `text` is no string or not such a path.
        """
        if not isinstance(text, str):
            raise InvalidInputError("store path", text, "it is not a string")
        directory, _, base_name = text.rpartition("/")
        if directory != STORE_DIR:
            raise InvalidInputError("store path", text, f"it is not directly in {STORE_DIR}")
        if not _BASE_NAME.fullmatch(base_name):
            raise InvalidInputError(
                "store path",
                text,
                "expected 32 base-32 digits, a dash and a name of letters, digits and +-._?=",
            )
        if _FORBIDDEN_NAME.fullmatch(base_name[33:]):
            raise InvalidInputError("store path", text, "Nix does not allow this name")
        return cls(text)

    @classmethod
    def parse_base_name(cls, text: object) -> StorePath:
        """Returns the store path whose last component is `text` (as newer Nix prints in JSON).

        :raises InvalidInputError: as `parse`.
        """
        if isinstance(text, str) and "/" in text:
            raise InvalidInputError("store path base name", text, "it has a slash")
        return cls.parse(f"{STORE_DIR}/{text}")

    @property
    def base_name(self) -> str:
        """The last component: `<digits>-<name>`."""
        return self[len(STORE_DIR) + 1 :]

    @property
    def name(self) -> str:
        """What follows the 32 digits and the dash."""
        return self.base_name[33:]
