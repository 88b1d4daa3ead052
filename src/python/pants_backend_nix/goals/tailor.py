"""`pants tailor`: targets for Nix files that have no owner."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pants.core.goals.tailor import (
    AllOwnedSources,
    PutativeTarget,
    PutativeTargets,
    PutativeTargetsRequest,
)
from pants.engine.rules import collect_rules
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel

from pants_backend_nix.engine import entries, files_matching, rule
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.targets.package import NixSourcesField, NixSourcesTarget

#: What tailor calls the target of a directory.
SOURCES_NAME = "nix"


@dataclass(frozen=True)
class PutativeNixTargetsRequest(PutativeTargetsRequest):
    pass


@rule(desc="Determine candidate Nix targets to create", level=LogLevel.DEBUG)
async def find_putative_nix_targets(
    request: PutativeNixTargetsRequest, owned: AllOwnedSources, nix: NixSubsystem
) -> PutativeTargets:
    if not nix.tailor:
        return PutativeTargets()
    found = await entries(await files_matching(request.path_globs(*NixSourcesField.default)))
    by_directory: dict[str, list[str]] = {}
    for path in sorted({entry.path for entry in found} - set(owned)):
        directory, name = os.path.split(path)
        by_directory.setdefault(directory, []).append(name)
    return PutativeTargets(
        PutativeTarget.for_target_type(
            NixSourcesTarget, path=directory, name=SOURCES_NAME, triggering_sources=names
        )
        for directory, names in by_directory.items()
        # A lock file alone is that of something else.
        if any(name.endswith(".nix") for name in names)
    )


def rules():
    return [
        *collect_rules(),
        UnionRule(PutativeTargetsRequest, PutativeNixTargetsRequest),
    ]
