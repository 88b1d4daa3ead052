"""Tests of `nixoci.recipe.database`, and of telling the two kinds of recipes apart."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import RECIPE_VERSION, LayerRecipe, Owner
from nixoci.recipe.recipe import parse_recipe
from nixoci.store.closure import NotClosedError
from nixoci.store.registration import Registrations, closed_registrations

from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.registration_support import many, registered, registration_sets

OWNERS = st.sampled_from(
    [Owner(), Owner(1000, 100, "", ""), Owner(gid=1), Owner(0, 0, "root", ""), Owner(8**7 - 1)]
)
RECIPES = st.builds(DatabaseRecipe, registration_sets(), OWNERS)

GOOD: dict[str, Any] = {
    "version": RECIPE_VERSION,
    "registrations": {
        store_path("a"): {
            "narHash": "sha256-" + "A" * 43 + "=",
            "narSize": 1,
            "references": [store_path("a")],
        }
    },
}


def _recipe(*registrations: Any, owner: Owner = Owner()) -> DatabaseRecipe:
    return DatabaseRecipe(closed_registrations(registrations), owner)


@given(RECIPES)
def test_json_round_trip(recipe: DatabaseRecipe) -> None:
    """What `to_json` writes is read back to an equal recipe with the same JSON form."""
    other = DatabaseRecipe.from_json(recipe.to_json())
    assert recipe == other and hash(recipe) == hash(other)
    assert recipe.to_json() == other.to_json()
    assert type(other.registrations) is Registrations
    assert parse_recipe(recipe.to_json()) == recipe


@given(RECIPES, RECIPES)
def test_recipes_that_differ_have_different_keys(
    one: DatabaseRecipe, other: DatabaseRecipe
) -> None:
    """The JSON form is the cache key of the layer's digest, so it tells apart what is not equal."""
    assert (one == other) == (one.to_json() == other.to_json())


@given(RECIPES, st.randoms())
def test_the_order_of_the_input_is_in_no_key(recipe: DatabaseRecipe, order: random.Random) -> None:
    """One set of registrations has one key, however their list was made."""
    shuffled = list(recipe.registrations) * 2
    order.shuffle(shuffled)
    again = DatabaseRecipe(closed_registrations(shuffled), recipe.owner)
    assert recipe == again
    assert recipe.to_json() == again.to_json()


def test_the_key_is_frozen() -> None:
    """It changes with `RECIPE_VERSION` only: otherwise cached digests would be lost, or wrong."""
    digest = hashlib.sha256(DatabaseRecipe(many(5)).to_json()).hexdigest()
    assert digest == "a0463bde95ae9b7b707d63e2ab51277a62552494ab4da486346db617935ac81c"


def test_the_key_holds_what_decides_the_bytes_and_nothing_else() -> None:
    """Registrations and the version; root as owner is left out."""
    recipe = _recipe(registered("a", ["b"]), registered("b"))
    document = json.loads(recipe.to_json())
    assert set(document) == {"version", "registrations"}
    assert set(document["registrations"]) == {store_path("a"), store_path("b")}
    owned = replace(recipe, owner=Owner(1000, 100, "", ""))
    assert json.loads(owned.to_json()) == {
        **document,
        "owner": {"uid": 1000, "gid": 100, "uname": "", "gname": ""},
    }


def test_no_store_path_has_to_be_read() -> None:
    """Whoever makes the layer needs neither a store nor Nix."""
    recipe = _recipe(registered("a", ["b"]), registered("b"))
    assert recipe.paths == ()
    assert recipe.summary == "the Nix database of 2 store paths"


def test_the_kinds_are_told_apart() -> None:
    """A recipe says which kind it is: no document is of both."""
    assert isinstance(parse_recipe(_recipe().to_json()), DatabaseRecipe)
    assert isinstance(parse_recipe(LayerRecipe(()).to_json()), LayerRecipe)
    with pytest.raises(InvalidInputError):
        DatabaseRecipe.from_json(LayerRecipe(()).to_json())
    with pytest.raises(InvalidInputError):
        LayerRecipe.from_json(_recipe().to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"version": RECIPE_VERSION + 1},
        {"version": str(RECIPE_VERSION)},
        {"version": None},
        {"registrations": []},
        {"registrations": {"/nix/store/short": {}}},
        {"registrations": {store_path("a"): []}},
        {"registrations": {store_path("a"): {"narHash": "x", "narSize": 1, "references": []}}},
        {"owner": []},
        {"owner": {"name": "x"}},
        {"owner": {"uid": "0"}},
        {"owner": {"gid": True}},
    ],
    ids=json.dumps,
)
def test_a_hostile_recipe_is_refused(change: dict[str, Any]) -> None:
    """One value of the wrong type or out of bounds spoils the recipe."""
    parse_recipe(json.dumps(GOOD).encode())
    with pytest.raises(InvalidInputError):
        parse_recipe(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b'"registrations"', b"{", b"\xff"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """Whatever is in the file, the error is one for users."""
    with pytest.raises(InvalidInputError):
        parse_recipe(text)


def test_a_set_that_is_not_closed_is_refused() -> None:
    """No file can bring a database in that Nix would find incomplete."""
    document = json.loads(_recipe(registered("a", ["b"]), registered("b")).to_json())
    del document["registrations"][store_path("b")]
    with pytest.raises(NotClosedError) as caught:
        parse_recipe(json.dumps(document).encode())
    assert caught.value.chain == (store_path("a"), store_path("b"))
