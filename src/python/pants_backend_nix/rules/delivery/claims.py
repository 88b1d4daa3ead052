"""What only one target of a command may have: a name in a registry, a file in the dist directory.

Pants asks for each target by itself, and no rule knows which others are asked for. So each one says what it
takes, in memory, and finds out whether another one has taken it in the same session.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Optional

from pants.engine.addresses import Address

#: So many sessions may be under way in one pantsd.
_MOST_SESSIONS = 16


class Claims:
    """Who has taken what. Threads can share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_session: OrderedDict[int, dict[str, Address]] = OrderedDict()

    def take(self, session: int, thing: str, address: Address) -> Optional[Address]:
        """Takes a thing for a target, and returns the other one that has it already, if any.

        :param session: in which it is taken; what earlier ones took is free.
        """
        with self._lock:
            claims = self._of_session.setdefault(session, {})
            while len(self._of_session) > _MOST_SESSIONS:
                self._of_session.popitem(last=False)
            holder = claims.setdefault(thing, address)
        return None if holder == address else holder


#: Of this Pants. A rule that takes something has to run again in each session, see `core.session`.
CLAIMS = Claims()
