"""Two lock files of a flake → what has moved between them, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from nixoci.errors import printable
from nixoci.store.locks.lock_file import LockedInput

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional

#: Seconds since the epoch that a date with four digits of a year can be.
_LAST_SECOND = 253402300799

#: What newer versions of Nix have of directories of the flake itself.
_NO_HASH = "no hash"


@dataclass(frozen=True)
class Move:
    """An input that has moved.

    :param path: of the input, see `parse_lock`.
    :param old: None if there was none; `new`: None if there is none any more.
    """

    path: str
    old: Optional[LockedInput]
    new: Optional[LockedInput]

    def __str__(self) -> str:
        if self.old is None:
            assert self.new is not None
            text = f"added {self.path}: {_described(self.new)}"
        elif self.new is None:
            text = f"removed {self.path}: {_described(self.old)}"
        elif self.old.source == self.new.source and not (self.old.follows or self.new.follows):
            old, new = (_state(one) or _NO_HASH for one in (self.old, self.new))
            text = f"updated {self.path} ({self.new.source}): {old} → {new}"
        else:
            text = f"updated {self.path}: {_described(self.old)} → {_described(self.new)}"
        return printable(text)


def moves_between(
    old: Mapping[str, LockedInput], new: Mapping[str, LockedInput]
) -> tuple[Move, ...]:
    """Returns what has moved between two lock files, by path."""
    return tuple(
        Move(path, old.get(path), new.get(path))
        for path in sorted({*old, *new})
        if _identity(old.get(path)) != _identity(new.get(path))
    )


def _identity(locked: Optional[LockedInput]) -> object:
    """Returns what is another thing if an input has moved."""
    if locked is None:
        return None
    return (locked.source, locked.revision or locked.nar_hash, locked.follows)


def _described(locked: LockedInput) -> str:
    if locked.follows:
        return f"follows {locked.follows}"
    return f"{locked.source} {_state(locked)}".rstrip()


def _state(locked: LockedInput) -> str:
    """Returns the revision, or else the hash, and the date."""
    words = [locked.revision or locked.nar_hash]
    time = locked.last_modified
    # Directories of the flake have the date that all copies of sources get.
    if time is not None and 1 < time <= _LAST_SECOND:
        words.append(f"({datetime.fromtimestamp(time, timezone.utc).date().isoformat()})")
    return " ".join(word for word in words if word)
