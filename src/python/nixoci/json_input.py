"""Reading JSON that comes from outside: every access says what it expects."""

from __future__ import annotations

import json

from nixoci.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Mapping

_REQUIRED: Any = object()

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


def parse_object(what: str, data: bytes) -> dict[str, Any]:
    """Parses `data` as a JSON object.

    :param what: what the document is, for the error.
    :raises InvalidInputError: no JSON, or JSON of another type.
    """
    document = parse_json(what, data)
    if not isinstance(document, dict):
        raise InvalidInputError(what, data[:200], "expected a JSON object")
    return document


def parse_json(what: str, data: bytes) -> Any:
    """Parses `data` as JSON.

    :raises InvalidInputError: no JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(what, data[:200], f"no JSON ({error})") from None


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
