"""Tests of `nixoci.json_input`."""

from __future__ import annotations

import io
import json
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci import json_input
from nixoci.errors import InvalidInputError
from nixoci.json_input import MOST_NESTED, get_field, get_list, parse_json, parse_object
from nixoci.json_output import readable_json

from tests.nixoci.tar.tar_support import far_down

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_json_is_parsed_to_its_value(value: Any) -> None:
    """Whatever JSON says comes back as Python's value of it."""
    assert value == parse_json("document", json.dumps(value).encode())


@given(JSON.filter(lambda value: not isinstance(value, dict)))
def test_only_an_object_is_an_object(value: Any) -> None:
    """JSON of any other type is an error that says what was expected of what."""
    with pytest.raises(InvalidInputError, match="document .* is not valid: expected a JSON object"):
        parse_object("document", json.dumps(value).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}{}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"\xff\xfe",
        b'"\xff"',
        b'{"a": "\n"}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\0",
    ],
    ids=range(11),
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    """The error shows the beginning of the data, and no more of it than fits a terminal."""
    with pytest.raises(InvalidInputError) as caught:
        parse_json("document", data)
    assert data[:200] == caught.value.value and len(str(caught.value)) < 1000


@given(st.binary(max_size=20))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    """Any bytes are JSON or an `InvalidInputError`."""
    try:
        parse_json("document", data)
    except InvalidInputError:
        pass


@pytest.mark.parametrize(
    "kind, value", [(str, ""), (int, 0), (dict, {}), (list, []), (bool, False)]
)
def test_a_field_of_the_kind_is_returned(kind: type, value: object) -> None:
    """A value that is empty or zero is a value: it is not replaced by the default."""
    assert value == get_field({"a": value}, "a", kind)
    assert value == get_field({"a": value}, "a", kind, default=kind("7") if kind is int else "x")


@pytest.mark.parametrize("document", [{}, {"a": None}])
def test_an_absent_field_is_its_default(document: dict[str, Any]) -> None:
    """Absent and null are the same: the default where there is one, else an error."""
    assert "default" == get_field(document, "a", str, default="default")
    assert ["default"] == get_list(document, "a", str, default=["default"])
    assert get_field(document, "a", str, default=None) is None
    with pytest.raises(InvalidInputError, match="field a None is not valid: expected str"):
        get_field(document, "a", str)
    with pytest.raises(InvalidInputError, match="field a None is not valid: expected list"):
        get_list(document, "a", str)


@pytest.mark.parametrize(
    "kind, value",
    [
        *[(str, 1), (str, ["a"]), (dict, []), (list, "abc")],
        *[(int, "1"), (int, 1.0), (int, True), (int, 2**63), (int, -(10**400))],
    ],
)
def test_a_field_of_another_kind_is_refused(kind: type, value: object) -> None:
    """A default does not excuse a wrong type, and JSON's booleans are no numbers."""
    for arguments in ((), (kind(),)):
        with pytest.raises(InvalidInputError) as caught:
            get_field({"a": value}, "a", kind, *arguments)
        assert ("field a", value) == (caught.value.what, caught.value.value)


def test_a_list_has_items_of_one_kind() -> None:
    """The error names the item that is of another type."""
    assert ["a", "b"] == get_list({"a": ["a", "b"]}, "a", str)
    for item in (1, None, ["b"]):
        with pytest.raises(InvalidInputError) as caught:
            get_list({"a": ["a", item]}, "a", str)
        assert ("item of a", item) == (caught.value.what, caught.value.value)
    with pytest.raises(InvalidInputError, match="item of a True is not valid: expected int"):
        get_list({"a": [1, True]}, "a", int)


@pytest.mark.parametrize("number", (10**400, 1 << 63, -(1 << 63) - 1, -(10**30)))
def test_numbers_that_count_nothing(number: int) -> None:
    """No size, time or count has more than 64 bits; what computes with one may rely on that."""
    document = parse_object("document", b'{"size": %d, "sizes": [1, %d]}' % (number, number))
    with pytest.raises(InvalidInputError, match="field size .*expected int"):
        get_field(document, "size", int)
    with pytest.raises(InvalidInputError, match="item of sizes .*expected int"):
        get_list(document, "sizes", int)
    assert (1 << 63) - 1 == get_field({"size": (1 << 63) - 1}, "size", int)


def test_a_file_of_just_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_input, "MOST_BYTES", 10)
    assert b"0123456789" == json_input.read_all(io.BytesIO(b"0123456789"), "x")
    with pytest.raises(InvalidInputError, match="file 'x'"):
        json_input.read_all(io.BytesIO(b"0123456789a"), "x")


def nested(kind: str, levels: int) -> bytes:
    """JSON of so many objects and lists in one another."""
    opening, closing = {"lists": ('["[", ', "]"), "objects": ('{"a": ', "}"), "both": ('[{"": ', "}]")}[kind]
    count = levels // 2 if kind == "both" else levels
    return (opening * count + "1" + closing * count).encode()


@pytest.mark.parametrize("kind", ["lists", "objects", "both"])
def test_how_deep_json_may_be_is_the_same_everywhere(kind: str) -> None:
    """It does not depend on who parses it; what is parsed can be written and quoted."""
    taken = nested(kind, MOST_NESTED)
    for act in (lambda parse: parse(), far_down_with_room):
        value = act(lambda: parse_json("document", taken))
        assert act(lambda: parse_json("document", readable_json("document", value))) == value
        error = act(lambda: InvalidInputError("document", value, "of no reason"))
        assert str(error).startswith("document ")
        for levels in (MOST_NESTED + 2, 400, 990, 5_000, 300_000):
            with pytest.raises(InvalidInputError, match=f"more than {MOST_NESTED} objects and lists"):
                act(lambda: parse_json("document", nested(kind, levels)))


def far_down_with_room(function: Callable[[], Any]) -> Any:
    """In the middle of the stack."""
    return far_down(function, 500)


def test_brackets_in_text_are_none() -> None:
    value = ["[{" * 1_000, {"[": "[" * 500}]
    assert parse_json("document", json.dumps(value).encode()) == value
    many = [[{"a": [1]}] for _ in range(500)]
    assert parse_json("document", json.dumps(many).encode()) == many
