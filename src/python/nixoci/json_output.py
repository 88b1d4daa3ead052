"""Writing JSON that is hashed: one form for one value, on every machine and Python."""

from __future__ import annotations

import json

from nixoci.errors import InvalidInputError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def canonical_json(what: str, value: Any) -> bytes:
    """Returns the one JSON form of `value`: UTF-8, sorted keys, no spaces, no final newline.

    :param what: what the document is, for the error.
    :raises InvalidInputError: a number that JSON does not have (Python's parser takes NaN and
        Infinity), or text that is not Unicode (half of a surrogate pair).
    """
    return _encode(what, value, sort_keys=True, separators=(",", ":"))


def readable_json(what: str, value: Any) -> bytes:
    """Returns `value` for people: indented by two, keys as they come, with a final newline.

    :raises InvalidInputError: as `canonical_json`.
    """
    return _encode(what, value, indent=2) + b"\n"


def _encode(what: str, value: Any, **style: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, **style)
        return text.encode()
    except (ValueError, RecursionError) as error:
        reason = "it is not Unicode text" if isinstance(error, UnicodeError) else str(error)
        raise InvalidInputError(what, type(value).__name__, reason) from None
