"""What rules of one session want done, collected while that is still possible: then it is done at once.

Pants asks for each target by itself, and no rule knows which others are asked for. So each one says in memory what
it wants, and asks for the batch that it has got into. A batch is closed when it is begun; what comes after that
gets into the next one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Hashable

#: So many sessions may be under way in one pantsd.
_MOST_SESSIONS = 16


@dataclass
class _Batch:
    members: dict[str, Any] = field(default_factory=dict)
    is_closed: bool = False


class Batches:
    """Who has got into which batch. Threads can share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_session: OrderedDict[int, dict[Hashable, list[_Batch]]] = OrderedDict()

    def join(self, session: int, group: Hashable, key: str, member: Any) -> int:
        """Gets a member into the batch of its group that is open, and returns the number of that.

        Who has joined before stays where it is.
        """
        with self._lock:
            batches = self._batches(session, group)
            for number, batch in enumerate(batches):
                if key in batch.members:
                    return number
            if not batches or batches[-1].is_closed:
                batches.append(_Batch())
            batches[-1].members[key] = member
            return len(batches) - 1

    def size(self, session: int, group: Hashable, number: int) -> int:
        """Returns how many there are in a batch."""
        with self._lock:
            return len(self._batches(session, group)[number].members)

    def close(self, session: int, group: Hashable, number: int) -> dict[str, Any]:
        """Closes a batch, if it is open, and returns its members by key."""
        with self._lock:
            batch = self._batches(session, group)[number]
            batch.is_closed = True
            return dict(batch.members)

    def _batches(self, session: int, group: Hashable) -> list[_Batch]:
        groups = self._of_session.setdefault(session, {})
        while len(self._of_session) > _MOST_SESSIONS:
            self._of_session.popitem(last=False)
        return groups.setdefault(group, [])


class UnderWay:
    """Counts who may be about to get into a batch; a context manager. Threads can share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self._count > 0


#: Of this Pants.
BATCHES = Batches()

#: Those that look whether a cache has what they need, in all sessions of this Pants.
UNDER_WAY = UnderWay()


def named(what: str, addresses: list[str]) -> str:
    """Returns a description: `what` and the first few addresses, in order."""
    addresses = sorted(addresses)
    shown, more = addresses[:3], len(addresses) - 3
    if more == 1:
        shown, more = addresses, 0
    return f"{what} {', '.join(shown)}" + (f" and {more} more" if more > 0 else "")
