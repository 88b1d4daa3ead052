"""The errors of the core: facts as attributes, one sentence for the user as the message."""

from __future__ import annotations


class NixOciError(Exception):
    """Base of every error that the core raises on purpose.

    `str(error)` is one or more sentences for the user; the facts are attributes of the subclass.
    """


class InvalidInputError(NixOciError):
    """Input from outside (JSON, a store path, a regular expression) that does not parse."""

    def __init__(self, what: str, value: object, why: str) -> None:
        self.what = what
        self.value = value
        self.why = why
        super().__init__(f"{what} {value!r} is not valid: {why}.")
