"""The errors of the core: facts as attributes, one sentence for the user as the message."""

from __future__ import annotations


class NixOciError(Exception):
    """Base of every error that the core raises on purpose.

    `str(error)` is one or more sentences for the user; the facts are attributes of the subclass.
    """

    def to_document(self) -> dict[str, object]:
        """Returns what a program is told of it, for JSON: its name, its message, and the facts."""
        facts = {name: value for name, value in vars(self).items() if _is_plain(value)}
        return {"error": type(self).__name__, "message": str(self), **facts}


class InvalidInputError(NixOciError):
    """Input from outside (JSON, a store path, a regular expression) that does not parse."""

    def __init__(self, what: str, value: object, why: str) -> None:
        self.what = what
        self.value = value
        self.why = why
        super().__init__(f"{what} {value!r} is not valid: {why}.")


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, (str, int)) for item in value)
    return isinstance(value, (str, int))
