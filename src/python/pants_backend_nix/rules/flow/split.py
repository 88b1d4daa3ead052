"""Store paths → their split over layers."""

from __future__ import annotations

from dataclasses import dataclass, field

from nixoci.errors import InvalidInputError
from nixoci.layering.document import split_from_json, split_request_json
from nixoci.layering.preferences import Preferences
from nixoci.layering.split import Split, split
from nixoci.store.closure import ClosureGraph
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    create,
    implicitly,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.run import CoreRun, run_core

#: Strategies that take longer than finding a process's result in a cache, if there are more paths than
#: that (docs/architecture.md has figures).
_SLOW = ("expected_cost", "explicit")
_MOST_IN_RULE = 100


@dataclass(frozen=True)
class SplitRequest:
    """The arguments of `nixoci.layering.split`.

    :param origin: the target whose paths they are, for people.
    :param environment: of a process, if it takes one.
    """

    graph: ClosureGraph
    max_layers: int
    strategy: str
    preferences: Preferences
    origin: str = field(compare=False)
    environment: EnvironmentNameRequest = THIS_MACHINE


@dataclass(frozen=True)
class LayerSplit:
    """:param parts: bottom first.
    :param preferences: that it was made with.
    """

    parts: Split
    preferences: Preferences = Preferences()


def _error(request: SplitRequest, message: object) -> NixImageError:
    return NixImageError(
        f"The store paths of {request.origin} cannot be split into layers. {message} Correct "
        "`layer_groups`, `change_rates` or `max_layers`."
    )


@rule(desc="Split into layers")
async def split_graph(request: SplitRequest) -> LayerSplit:
    graph, max_layers, preferences = request.graph, request.max_layers, request.preferences
    if len(graph) <= _MOST_IN_RULE or request.strategy not in _SLOW:
        try:
            parts = split(graph, max_layers, request.strategy, preferences)
        except InvalidInputError as error:
            raise _error(request, error) from None
        return LayerSplit(parts, preferences)
    document = split_request_json(graph, max_layers, preferences)
    result = await run_core(
        CoreRun(
            ("split", "request.json", f"--strategy={request.strategy}", "--output=split.json"),
            f"Split {request.origin} into layers",
            await create([FileContent("request.json", document)]),
            output="split.json",
            environment=request.environment,
            needs_nix=False,
        ),
        **implicitly(),
    )
    if result.output is None:
        raise _error(request, result.error.get("message") or result.stderr)
    return LayerSplit(split_from_json(result.output), preferences)


def rules():
    return collect_rules()
