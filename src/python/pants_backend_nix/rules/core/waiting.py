"""To wait for others who are about to get into a batch: without a clock, which rules have not."""

from __future__ import annotations

from typing import Hashable

from pants.engine.process import Process, ProcessCacheScope
from pants.util.logging import LogLevel

from pants_backend_nix.engine import run_fallible
from pants_backend_nix.rules.core.batches import BATCHES, UNDER_WAY
from pants_backend_nix.rules.core.place import Place
from pants_backend_nix.rules.core.session import session_environment

#: A process that does nothing takes some ten milliseconds, and longer while those of others wait for their turn. So
#: long, at the least, others have to get into a batch, and while others come; but no longer than for so many.
_MOST_PAUSES = 20


async def wait_for_others(session: int, group: Hashable, number: int, place: Place) -> None:
    """Returns when nobody has got into the batch for a moment, or nobody is about to.

    :param number: of the batch in its group.
    """
    size = 0
    for pause in range(_MOST_PAUSES):
        now = BATCHES.size(session, group, number)
        if now == size or not (size or UNDER_WAY):
            return
        size = now
        await run_fallible(
            Process(
                ("/bin/sh", "-c", ":", f"{hash(group)}.{number}.{pause}"),
                description="Wait for other Nix packages",
                level=LogLevel.DEBUG,
                env=session_environment(session),
                cache_scope=ProcessCacheScope.PER_RESTART_SUCCESSFUL,
            ),
            place.environment,
        )
