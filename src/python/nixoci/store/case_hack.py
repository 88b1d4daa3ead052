"""Names on the disks of stores whose Nix has the setting `use-case-hack`, as on macOS.

File systems there take names that differ only in case for one. So Nix writes the second of them with a
suffix, and takes that away where it makes a NAR (libutil/archive.cc): the first `~nix~case~hack~` in a name
and all that follows it. What a NAR has is the true name. A Nix without the setting does neither, so such a name
is an ordinary one there.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    #: Whether the Nix of a store has the setting. It is only asked where a name has the suffix.
    HasCaseHack = Callable[[], bool]

#: What the suffix begins with; a number follows.
CASE_HACK = "~nix~case~hack~"


class NoTrueNameError(Exception):
    """Names on the disk that have no true name of their own; the caller knows where they are.

    :param names: one that would be empty, or two that would be the same.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__(names)

    @property
    def why(self) -> str:
        """What is wrong, as the end of a sentence about the directory."""
        setting = f"Nix's setting `use-case-hack` takes {CASE_HACK} and what follows off names"
        if len(self.names) == 1:
            return f"has {self.names[0]!a}, of whose name nothing is left: {setting}"
        names = " and ".join(map(ascii, self.names))
        return f"has {names}, whose names would be the same: {setting}"


def without_case_hack() -> bool:
    """The answer for a store whose Nix has not the setting: False."""
    return False


def true_names(names: Iterable[str], has_case_hack: HasCaseHack) -> list[tuple[str, str]]:
    """Returns the true name and the name on the disk, for all names of a directory, in their order."""
    pairs = [(name, name) for name in names]
    if any(CASE_HACK in name for name, _ in pairs) and has_case_hack():
        return [(name.partition(CASE_HACK)[0], name) for name, _ in pairs]
    return pairs


def by_true_name(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Returns the names on the disk by their true names.

    :param pairs: from `true_names`.
    :raises NoTrueNameError: two are the same, or one is empty.
    """
    found: dict[str, str] = {}
    for true, name in sorted(pairs):
        if not true:
            raise NoTrueNameError((name,))
        if found.setdefault(true, name) != name:
            raise NoTrueNameError((found[true], name))
    return found
