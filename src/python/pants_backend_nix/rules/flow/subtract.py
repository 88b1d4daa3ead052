"""Closure graph → contents of a layer: ignored paths and those of lower layers are taken away."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layering.contents import Contents, subtract
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import rule


@dataclass(frozen=True)
class SubtractRequest:
    """The arguments of `nixoci.layering.contents.subtract`."""

    graph: ClosureGraph
    packages: tuple[StorePath, ...]
    copied: tuple[StorePath, ...]
    ignored: tuple[StorePath, ...]
    below: tuple[StorePath, ...]


@dataclass(frozen=True)
class SubtractedContents:
    contents: Contents


@rule(desc="Subtract ignored store paths")
async def subtract_ignored(request: SubtractRequest) -> SubtractedContents:
    return SubtractedContents(
        subtract(
            request.graph,
            packages=request.packages,
            copied=request.copied,
            ignored=request.ignored,
            below=request.below,
        )
    )


def rules():
    return collect_rules()
