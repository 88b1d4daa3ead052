"""Tests of `targets.layer_budget`: how many OCI layers `contents` and store paths may take."""

from __future__ import annotations

from typing import Any

import pytest
from nixoci.layering.distributions import MOST_APART
from pants.engine.addresses import Address

from pants_backend_nix.targets.fields.contents import NixContents, nix_contents
from pants_backend_nix.targets.image import NixImageTarget
from pants_backend_nix.targets.layer import NixLayerTarget
from pants_backend_nix.targets.layer_budget import contents_layer_count, store_layer_count

_FILE = nix_contents(":a", "/a")
_SPLIT = nix_contents(":b", to="/b", split="dependencies", interpreter="{p}/bin/python3")
_SHARED = nix_contents(
    ":c", to="/c", split="dependencies", interpreter="/p", libraries=[":lib"]
)


def _image(**fields: Any) -> NixImageTarget:
    return NixImageTarget(fields, Address("app", target_name="image"))


@pytest.mark.parametrize(
    ("contents", "wanted"),
    [
        (None, 0),
        ([_FILE], 1),
        ([_FILE, _FILE], 2),
        # Requirements, own code, and some that are alone.
        ([_SPLIT], 2 + MOST_APART),
        ([_SHARED], 3 + MOST_APART),
        ([_FILE, _SPLIT, _SHARED], 6 + 2 * MOST_APART),
    ],
)
@pytest.mark.parametrize("system", [0, 1])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 40])
def test_layers_are_shared_out(contents: Any, wanted: int, system: int, most: int) -> None:
    """All that `contents` has use for, if there is room; each kind has at least one, whatever there is."""
    fields = {"directories": [{"path": "/d"}]} if system else {}
    image = _image(contents=contents, max_layers=most, **fields)
    files, paths = contents_layer_count(image), store_layer_count(image)
    assert files == min(wanted, max(1, most - 1 - system))
    assert paths == max(1, most - system - files)
    assert files + paths + system <= max(most, 1 + bool(wanted) + system)


def test_a_layer_has_one_for_each_by_default() -> None:
    layer = NixLayerTarget({"contents": [_SPLIT]}, Address("app", target_name="layer"))
    assert (contents_layer_count(layer), store_layer_count(layer)) == (1, 1)


def test_all_addresses_of_an_entry() -> None:
    """Those of `libraries` as well: the target depends on them."""
    assert isinstance(_SHARED, NixContents) and isinstance(_FILE, NixContents)
    assert (_FILE.addresses, _SHARED.addresses) == ((":a",), (":c", ":lib"))


def test_lists_of_an_entry_are_hashed() -> None:
    """As the value of a field is: two targets that say the same are equal."""
    first, second = (_image(contents=[_SHARED]), _image(contents=(_SHARED,)))
    assert hash(first) == hash(second) and first == second
