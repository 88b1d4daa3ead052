"""From the answer of a registry to an error: what it means, and what the registry says about it."""

from __future__ import annotations

from http import HTTPStatus

from nixoci.errors import NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.registry.errors import (
    PermissionDeniedError,
    RegistryError,
    RepositoryUnknownError,
    UnexpectedAnswerError,
    printable,
)
from nixoci.registry.http.exchange import Answer


def error_codes(answer: Answer) -> tuple[tuple[str, str], ...]:
    """Returns code and message of each error in an answer (distribution spec, "Error Codes").

    They are made printable. An answer that holds no such document has none.
    """
    try:
        document = parse_object("errors", answer.body)
        return tuple(
            (
                printable(get_field(error, "code", str, ""), 60),
                printable(get_field(error, "message", str, ""), 200),
            )
            for error in get_list(document, "errors", dict, [])[:3]
        )
    except NixOciError:
        # Proxies and web servers answer in HTML; there, the status has to do.
        return ()


def describe(answer: Answer) -> str:
    """Returns the status of an answer, with what the registry says about it, in one line."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = printable(answer.reason, 60)
    status = f"status {answer.status} {phrase}".rstrip()
    details = "; ".join(": ".join(filter(None, pair)) for pair in error_codes(answer))
    return f"{status}, {details}" if details else status


def failure(
    registry: str, repository: str, what: str, answer: Answer, *, writes: bool = True
) -> RegistryError:
    """Returns the error that an unexpected answer stands for.

    :param what: what was asked for, as `to write the manifest`.
    :param writes: whether the right to push was needed.
    """
    why = describe(answer)
    if answer.status == 403:
        return PermissionDeniedError(registry, repository, why, writes=writes)
    if answer.status == 404 and "NAME_UNKNOWN" in {code for code, _ in error_codes(answer)}:
        return RepositoryUnknownError(registry, repository, why)
    return UnexpectedAnswerError(registry, repository, what, why, answer.status)
