"""The registries of `[nix-images]` and of Pants' docker backend, together."""

from __future__ import annotations

from dataclasses import dataclass

from pants.backend.docker.subsystems.docker_options import DockerOptions
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import rule
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.targets.registries import Registry, RegistryOptions, parse_registries


@dataclass(frozen=True)
class RegistryOptionsRequest:
    """Asks for the registries that the options describe."""


@rule
async def collect_registries(
    _: RegistryOptionsRequest, options: NixImageSubsystem, docker: DockerOptions
) -> RegistryOptions:
    own = parse_registries(options.registries)
    aliases = {registry.alias for registry in own}
    addresses = {registry.address for registry in own}
    # Each of them is in there by its address and, if it has one, by its alias too.
    others = {
        r.alias: Registry(
            r.address, r.alias, r.default, r.extra_image_tags, r.skip_push, r.repository
        )
        for r in docker.registries().registries.values()
        if r.alias not in aliases and r.address not in addresses
    }
    return RegistryOptions((*own, *(others[alias] for alias in sorted(others))))


def rules():
    return (*collect_rules(), *DockerOptions.rules())
