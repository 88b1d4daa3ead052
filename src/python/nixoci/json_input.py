"""Reading JSON that comes from outside: every access says what it expects."""

from __future__ import annotations

import json

from nixoci.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Mapping

_REQUIRED: Any = object()

#: How many objects and lists may be in one another. What is nested so deep can be written and quoted too,
#: whoever does it; without such a limit it would depend on the depth of the program.
MOST_NESTED = 128
_NESTS = frozenset((dict, list))

#: Bytes that a document may have. The descriptor of an image with 20,000 store paths has 20 MB.
MOST_BYTES = 1 << 28


def read_all(file: BinaryIO, name: str) -> bytes:
    """Returns what is left in a file, which may be one without an end, such as `/dev/zero`.

    :raises InvalidInputError: it is more than `MOST_BYTES`.
    """
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InvalidInputError("file", name, f"it has over {MOST_BYTES >> 20} MiB")
    return data


def parse_object(what: str, data: bytes, nested: int = MOST_NESTED) -> dict[str, Any]:
    """Parses `data` as a JSON object.

    :param what: what the document is, for the error.
    :param nested: how many objects and lists may be in one another.
    :raises InvalidInputError: no JSON, JSON of another type, or nested more deeply.
    """
    document = parse_json(what, data, nested)
    if not isinstance(document, dict):
        raise InvalidInputError(what, data[:200], "expected a JSON object")
    return document


def parse_json(what: str, data: bytes, nested: int = MOST_NESTED) -> Any:
    """Parses `data` as JSON.

    :param nested: as of `parse_object`.
    :raises InvalidInputError: no JSON, or nested more deeply.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise InvalidInputError(what, data[:200], f"no JSON ({error})") from None
    except RecursionError:
        document = None
        too_deep = True
    else:
        # Most documents have not even so many of both.
        too_deep = data.count(b"{") + data.count(b"[") > nested and _is_deeper(document, nested)
    if too_deep:
        why = f"more than {nested} objects and lists are in one another"
        raise InvalidInputError(what, data[:200], why)
    return document


def _is_deeper(document: Any, nested: int) -> bool:
    level: list[Any] = [[document]]
    for _ in range(nested + 1):
        found: list[Any] = []
        for items in level:
            # Most have nothing but text and numbers in them.
            if not _NESTS.isdisjoint(map(type, items)):  # type: ignore[arg-type]
                found += [item for item in items if type(item) in _NESTS]
        level = [item.values() if type(item) is dict else item for item in found]
    return bool(level)


def get_field(document: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    """Returns `document[name]` if it is a `kind`; `default`, where given, if it is absent or null.

    :param kind: of `int`, only numbers of 64 bits are any: what counts bytes, files and seconds.
    :raises InvalidInputError: absent without default, or of another type.
    """
    value = document.get(name)
    if value is None and default is not _REQUIRED:
        return default
    if not _is_a(value, kind):
        raise InvalidInputError(f"field {name}", value, f"expected {kind.__name__}")
    return value


def get_list(document: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    """As `get_field` for a list whose items are all `kind`.

    :raises InvalidInputError: as `get_field`, or an item is of another type.
    """
    items = get_field(document, name, list, default)
    for item in items or ():
        if not _is_a(item, kind):
            raise InvalidInputError(f"item of {name}", item, f"expected {kind.__name__}")
    return items


def _is_a(value: object, kind: type) -> bool:
    if kind is int:
        # In Python, unlike JSON, a boolean is an integer too. What has more than 64 bits is no size of anything,
        # and no floating-point number either.
        return type(value) is int and -(2**63) <= value < 2**63
    return isinstance(value, kind)
