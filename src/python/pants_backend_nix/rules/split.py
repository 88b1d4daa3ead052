"""Store paths → their split over layers."""

from __future__ import annotations

from dataclasses import dataclass, field

from nixoci.closure import ClosureGraph
from nixoci.errors import InvalidInputError
from nixoci.layering import Split, split
from nixoci.layering.preferences import Preferences
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import rule
from pants_backend_nix.errors import NixImageError


@dataclass(frozen=True)
class SplitRequest:
    """The arguments of `nixoci.layering.split`.

    :param origin: the target whose paths they are, for an error.
    """

    graph: ClosureGraph
    max_layers: int
    strategy: str
    preferences: Preferences
    origin: str = field(compare=False)


@dataclass(frozen=True)
class LayerSplit:
    """:param parts: bottom first."""

    parts: Split


@rule(desc="Split into layers")
async def split_graph(request: SplitRequest) -> LayerSplit:
    try:
        return LayerSplit(
            split(request.graph, request.max_layers, request.strategy, request.preferences)
        )
    except InvalidInputError as error:
        raise NixImageError(
            f"The store paths of {request.origin} cannot be split into layers. {error} Correct "
            "`layer_groups`, `change_rates` or `max_layers`."
        ) from None


def rules():
    return collect_rules()
