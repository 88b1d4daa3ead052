"""What the core reports of a failure, on standard output."""

from __future__ import annotations

import json
from typing import Any, Mapping

from pants.engine.process import FallibleProcessResult


def reported_error(result: FallibleProcessResult) -> Mapping[str, Any]:
    """Returns what the core printed of its failure; empty if it did not get that far."""
    try:
        document = json.loads(result.stdout)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
