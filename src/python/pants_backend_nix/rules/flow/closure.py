"""Derivation → closure graph of its outputs."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.store.closure import ClosureGraph
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import implicitly, rule
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.targets.evaluated import NixPackage


@dataclass(frozen=True)
class ClosureRequest:
    """Asks what the outputs of a package reference."""

    package: NixPackage
    view: StoreView = StoreView()


@dataclass(frozen=True)
class Closure:
    """:param graph: the outputs that were asked for, and all that they reference."""

    graph: ClosureGraph


@rule(desc="Query closure of Nix package")
async def query_closure(request: ClosureRequest) -> Closure:
    package = request.package
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("closure", "--output=closure.json", *sorted(package.paths)),
                f"Query closure of {package.address}",
                output="closure.json",
                session=request.view.session,
                environment=request.view.place(package.environment),
            ),
            (package,),
        ),
        **implicitly(),
    )
    return Closure(ClosureGraph.from_json(step.output))


def rules():
    return collect_rules()
