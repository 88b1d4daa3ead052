"""Image and repository → the contents of files that a push will read: those of layers that it lacks.

A push is a process that the user watches. Pants fetches and writes what such a process may read before it
starts, so what is not needed is left out: where a registry has all layers of files, nothing is fetched
from a remote cache.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from nixoci.errors import NixOciError
from nixoci.image.reference import Reference
from nixoci.registry.lookup import lacking_layers
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import implicitly, merge, rule
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.image import BuiltImage
from pants_backend_nix.rules.delivery.registries import RegistryOptionsRequest, collect_registries
from pants_backend_nix.rules.delivery.registry_environment import registry_environment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LackingContentsRequest:
    """:param references: all of one repository.
    :param session: in which the registry is asked; in a later one it may have something else.
    """

    image: BuiltImage
    references: tuple[Reference, ...]
    session: int


@dataclass(frozen=True)
class LackingContents:
    """:param digest: a tree of files that are named by their SHA-256."""

    digest: Digest


@rule(desc="Ask registry for layers of files")
async def find_lacking_contents(
    request: LackingContentsRequest, options: NixImageSubsystem
) -> LackingContents:
    image = request.image
    contents = {
        item.layer: planned.contents
        for item, planned in zip(image.image.layers, image.plan.layers)
        if planned.contents != EMPTY_DIGEST
    }
    if not contents:
        return LackingContents(EMPTY_DIGEST)
    environment = await registry_environment(options.env_vars)
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    try:
        lacking = lacking_layers(
            image.image,
            tuple(contents),
            request.references,
            environment,
            known.connection_settings(),
        )
    except NixOciError as error:
        # The push will find the same, and has the time to try again.
        logger.debug(f"{request.references[0]}: {error}")
        lacking = tuple(contents)
    return LackingContents(await merge(contents[layer] for layer in lacking))


def rules():
    return collect_rules()
