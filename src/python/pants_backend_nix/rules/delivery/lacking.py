"""Image → whether registries have it, and the contents of files that a push will read.

A push is a process that the user watches. Pants fetches and writes what such a process may read before it
starts, so what is not needed is left out: where a registry has all layers of files, nothing is fetched
from a remote cache. And where a registry has the image under all names, there is no push at all.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Mapping, Optional

from nixoci.errors import NixOciError
from nixoci.image.reference import Reference
from nixoci.registry.lookup import Lacking, Lookup
from nixoci.registry.settings import Registries
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import implicitly, merge, rule
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.delivery.index import Built
from pants_backend_nix.rules.registry.environment import registry_environment
from pants_backend_nix.rules.registry.options import RegistryOptionsRequest, collect_registries

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LackingContentsRequest:
    """:param references: to which the image is to be pushed.
    :param session: in which registries are asked; in a later one they may have something else.
    """

    image: Built
    references: tuple[Reference, ...]
    session: int


@dataclass(frozen=True)
class LackingContents:
    """:param is_there: every name names the image already.
    :param digest: a tree of files that are named by their SHA-256.
    """

    is_there: bool
    digest: Digest


class _Lookups:
    """The lookup of a session: all rules of one command share connections to registries, and what these
    want to know of their users. No answer is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Optional[int] = None
        self._lookup: Optional[Lookup] = None

    def of_session(
        self, session: int, environment: Mapping[str, str], registries: Registries
    ) -> Lookup:
        with self._lock:
            if self._lookup is None or self._session != session:
                # The connections of the one before are closed when nobody uses it any more.
                self._session, self._lookup = session, Lookup(environment, registries)
            return self._lookup


_lookups = _Lookups()


@rule(desc="Ask registries for image")
async def find_lacking_contents(
    request: LackingContentsRequest, options: NixImageSubsystem
) -> LackingContents:
    image = request.image
    contents = {
        item.layer: planned.contents
        for item, planned in zip(image.image.layers, image.plan.layers)
        if planned.contents != EMPTY_DIGEST
    }
    environment = await registry_environment(options.env_vars)
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    try:
        lookup = _lookups.of_session(
            request.session, environment, known.connection_settings()
        )
        lacking = lookup.lacking(image.image, tuple(contents), request.references)
    except NixOciError as error:
        # The push will find the same, and has the time to try again.
        logger.debug(f"{request.references[0]}: {error}")
        lacking = Lacking(False, tuple(contents))
    return LackingContents(
        lacking.is_there, await merge(contents[layer] for layer in lacking.layers)
    )


def rules():
    return collect_rules()
