"""What the steps of one plan see of a Nix store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from pants_backend_nix.engine import THIS_MACHINE, EnvironmentNameRequest


@dataclass(frozen=True)
class StoreView:
    """Which store is read, and when.

    :param session: None for what any cache knows of store paths, whoever has read them. The number of
        a session for what the store has in that session: nothing is taken from a cache, see
        `CoreRun.session`.
    :param here: the store of this machine, whatever the environments of the targets.
    """

    session: Optional[int] = None
    here: bool = False

    def place(self, environment: EnvironmentNameRequest) -> EnvironmentNameRequest:
        """Returns where a step runs whose target asks for `environment`."""
        return THIS_MACHINE if self.here else environment
