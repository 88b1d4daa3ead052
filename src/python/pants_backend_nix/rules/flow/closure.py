"""Derivation → closure graph of its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nixoci.store.closure import ClosureGraph
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import THIS_MACHINE, implicitly, rule
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.flow.evaluate import NixPackage


@dataclass(frozen=True)
class ClosureRequest:
    """:param session: asks what the store of this machine has now, whatever a cache knows of the
        package (see `CoreRun.session`).
    :param here: the store of this machine, whatever the environment of the package.
    """

    package: NixPackage
    session: Optional[int] = None
    here: bool = False


@dataclass(frozen=True)
class Closure:
    """:param graph: the outputs that were asked for, and all that they reference."""

    graph: ClosureGraph


@rule(desc="Query closure of Nix package")
async def query_closure(request: ClosureRequest) -> Closure:
    package = request.package
    step = await run_store_step(
        StoreStep(
            ("closure", "--output=closure.json", *sorted(package.paths)),
            f"Query closure of {package.address}",
            (package,),
            output="closure.json",
            session=request.session,
            environment=THIS_MACHINE if request.here else package.environment,
        ),
        **implicitly(),
    )
    return Closure(ClosureGraph.from_json(step.output))


def rules():
    return collect_rules()
