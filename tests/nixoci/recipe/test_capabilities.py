"""Names of capabilities: one way to write each set, and an error that lists what there is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.recipe.capabilities import CAPABILITIES, capability_names
from nixoci.recipe.layer import LayerRecipe, Permission

KNOWN = sorted(CAPABILITIES)


def test_the_table_has_every_number_once() -> None:
    """0 to `CAP_LAST_CAP`, which is `CAP_CHECKPOINT_RESTORE`."""
    assert sorted(CAPABILITIES.values()) == list(range(41))
    assert max(CAPABILITIES, key=CAPABILITIES.__getitem__) == "cap_checkpoint_restore"


@given(st.lists(st.sampled_from(KNOWN)), st.data())
def test_spelling_order_and_repetition_make_no_difference(names: list[str], data: Any) -> None:
    """As `setcap` has them, or as `docker run --cap-add`: one set, so one recipe."""
    spelled = []
    for name in data.draw(st.permutations(names + names[:1])):
        name = name.upper() if data.draw(st.booleans()) else name
        spelled.append(name[4:] if data.draw(st.booleans()) else name)
    assert capability_names(spelled) == tuple(sorted(set(names)))
    assert Permission("/a", capabilities=tuple(spelled)).capabilities == tuple(sorted(set(names)))


@pytest.mark.parametrize(
    "name", ["", "cap_", "cap_net", "net-raw", "cap_net_raw+ep", "cap_cap_chown", "13", 13, None]
)
def test_an_unknown_name_is_refused(name: Any) -> None:
    """The error has the name and those that there are."""
    with pytest.raises(InvalidInputError, match="expected one of cap_chown, ") as caught:
        capability_names(["cap_chown", name])
    assert (caught.value.what, caught.value.value) == ("capability", name)


@pytest.mark.parametrize("names", ["cap_net_raw", None, {"cap_net_raw": True}, 13])
def test_what_is_no_list_is_refused(names: Any) -> None:
    """A string is not the list of its letters."""
    with pytest.raises(InvalidInputError, match="expected a list of names"):
        Permission("/a", capabilities=names)


def test_a_recipe_without_capabilities_has_the_key_that_it_had() -> None:
    """What other permissions are in the key does not change; capabilities are a list in it."""
    plain = LayerRecipe((), (Permission("/a", uid=0),))
    assert json.loads(plain.to_json())["permissions"] == [{"path": "/a", "uid": 0}]
    recipe = LayerRecipe((), (Permission("/a", capabilities=("SETUID", "cap_kill")),))
    assert json.loads(recipe.to_json())["permissions"] == [
        {"path": "/a", "capabilities": ["cap_kill", "cap_setuid"]}
    ]
