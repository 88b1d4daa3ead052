"""Packages → what the core needs to realise their store paths by itself.

Publishing and running find out late which layers somebody lacks, in a process that Pants cannot
interrupt to build something. So that process gets the derivations and sources along.
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layer.source import Origin, origins_to_json
from pants.engine.fs import Digest, FileContent
from pants.engine.rules import collect_rules
from pants.option.global_options import GlobalOptions

from pants_backend_nix.engine import concurrently, create, implicitly, merge, prefix, rule
from pants_backend_nix.rules.core.step import build_log
from pants_backend_nix.rules.flow.closure import ClosureRequest, query_closure
from pants_backend_nix.targets.evaluated import NixPackage

ORIGINS_FILE = "origins.json"


@dataclass(frozen=True)
class OriginsRequest:
    packages: tuple[NixPackage, ...]


@dataclass(frozen=True)
class PackageOrigins:
    """:param digest: has `ORIGINS_FILE`, and what it names beside it."""

    digest: Digest


@rule(desc="Collect derivations")
async def collect_origins(
    request: OriginsRequest, global_options: GlobalOptions
) -> PackageOrigins:
    closures = await concurrently(
        query_closure(ClosureRequest(package), **implicitly()) for package in request.packages
    )
    evaluated = [package for package in request.packages if package.evaluation is not None]
    digests = [p.evaluation.sources for p in evaluated if p.evaluation is not None]
    # Packages of one source file have the same sources.
    directories = {digest: f"sources/{number}" for number, digest in enumerate(dict.fromkeys(digests))}
    sources = await concurrently(prefix(digest, place) for digest, place in directories.items())
    origins = []
    for package, closure in zip(request.packages, closures):
        evaluation = package.evaluation
        origins.append(
            Origin(
                package.derivation,
                frozenset(closure.graph),
                None
                if evaluation is None
                else evaluation.attribute(directories[evaluation.sources]),
                build_log(package.address, global_options),
            )
        )
    file = await create([FileContent(ORIGINS_FILE, origins_to_json(origins))])
    return PackageOrigins(await merge((file, *sources)))


def rules():
    return collect_rules()
