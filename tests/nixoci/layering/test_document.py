"""Tests of `nixoci.layering.document` and `previous_document`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.layering.document import split_document, split_from_json, split_request_json
from nixoci.layering.preferences import Preferences
from nixoci.layering.previous_document import previous_layers
from nixoci.layering.split import STRATEGIES, split
from nixoci.store.closure import ClosureGraph

from tests.nixoci.store.closure_support import closure_graphs, info, store_path


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@given(known=closure_graphs(), max_layers=st.integers(1, 9))
def test_a_process_splits_as_a_call_does(
    strategy: str, known: ClosureGraph, max_layers: int
) -> None:
    """What goes through JSON and back is what was meant."""
    paths = list(known)
    preferences = Preferences(
        rates=(("*-a*", 3.5), ("*", 1)),
        previous=(tuple(paths[:3]), tuple(paths[5:7])),
        first_party=frozenset(paths[:1]),
    )
    request = split_request_json(known, max_layers, preferences)
    expected = split(known, max_layers, strategy, preferences)
    assert split_from_json(split_document(request, strategy)) == expected


def test_the_order_of_rates_goes_along() -> None:
    """Of patterns that match, the first counts; JSON objects have no order."""
    known = ClosureGraph(info(name, nar_size=10**6) for name in ("a", "b", "own-1", "own-2"))
    for rates in ((("own-*", 50), ("*", 1)), (("*", 1), ("own-*", 50))):
        preferences = Preferences(rates=rates)
        request = split_request_json(known, 2, preferences)
        expected = split(known, 2, preferences=preferences)
        assert split_from_json(split_document(request, "expected_cost")) == expected


@pytest.mark.parametrize("rates", [[["a"]], [[1, 2]], [["a", "b"]], [["a", True]]])
def test_rates_that_are_none_are_refused(rates: object) -> None:
    request = {"graph": [], "max_layers": 1, "rates": rates}
    with pytest.raises(InvalidInputError, match="rate"):
        split_document(json.dumps(request).encode(), "expected_cost")


def test_previous_layers_of_an_image_and_of_a_layer_target() -> None:
    """What is at the root, and the Nix database, belong to no split."""
    a, b, c = map(store_path, "abc")
    image = {
        "layers": [
            {"recipe": {"entries": [{"path": a}, {"path": b, "destination": "/"}]}},
            {"recipe": {"registrations": []}},
            {"recipe": {"entries": [{"path": c}]}},
        ]
    }
    assert previous_layers(json.dumps(image).encode()) == ((a,), (c,))
    layer = {"layers": [{"storePaths": [a, b]}]}
    assert previous_layers(json.dumps(layer).encode()) == ((a, b),)


@pytest.mark.parametrize(
    "document",
    [{}, {"layers": 1}, {"layers": [{}]}, {"layers": [{"storePaths": ["/etc/passwd"]}]}, []],
)
def test_what_describes_no_layers_is_refused(document: object) -> None:
    with pytest.raises(InvalidInputError):
        previous_layers(json.dumps(document).encode())
