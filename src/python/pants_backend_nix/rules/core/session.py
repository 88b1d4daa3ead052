"""Which session of Pants this is: for what has to be done again in a later one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Mapping

from pants.engine.internals.session import RunId
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import rule


@dataclass(frozen=True)
class CurrentSessionRequest:
    """Asks which session of Pants this is."""


@dataclass(frozen=True)
class CurrentSession:
    """:param id: another one for each run of Pants, also when pantsd goes on. No two have ever been the same."""

    id: int


@rule
async def current_session(_: CurrentSessionRequest, __: RunId) -> CurrentSession:
    """For what has an effect on the machine, so that it must be done again in a later session.

    Pants has the cache scope PER_SESSION for such processes. It would start them again whenever a
    later session looks at a rule that once needed them, before it knows whether it still does. With
    the number of the session in the process, it is a new one exactly if a rule asks for it. So the
    rule that finds out that it needs one asks for the number, and hands it on in its request.

    A new `RunId` makes Pants run this rule again. It counts from the start in each scheduler, of which one pantsd
    may have several in the course of time, and is in no path or memory that outlives one.
    """
    return CurrentSession(secrets.randbits(63))


def session_environment(session: int) -> Mapping[str, str]:
    """Returns the variable that makes the processes of one session differ from all others'."""
    return {"NIXOCI_SESSION": str(session)}


def rules():
    return collect_rules()
