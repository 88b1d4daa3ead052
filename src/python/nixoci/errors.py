"""The errors of the core: facts as attributes, one sentence for the user as the message.

Messages quote names in documents, stores and registries, answers, and what programs print. Whatever that is, a
message has nothing in it that a terminal acts upon: `NixOciError` sees to that, for all of them.
"""

from __future__ import annotations

from nixoci.secrets import without_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

#: Characters of a value that a message quotes.
_LONGEST_VALUE = 300

#: Characters of the reason why a value is not valid, in which there may be others.
_LONGEST_REASON = 2000


def printable(text: object, longest: Optional[int] = None) -> str:
    """Returns text from outside in one line, as a terminal can show it, without the secrets that are known.

    Control characters (also those that begin sequences, end lines, or turn the direction of writing) and stray
    bytes are escaped, as `\\x1b` or `\\u202e`.

    :param longest: characters; what is more is left out.
    """
    # A secret is taken out before a part of it is cut off.
    shown = without_secrets(str(text))
    if longest is not None:
        shown = shown[: longest + 1]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)
    return shown if longest is None or len(shown) <= longest else shown[:longest] + "…"


def printable_lines(text: str) -> str:
    """As `printable` for what a program has printed: its lines and tabs stay, and its colours go."""
    text = without_secrets(text)
    if text.isprintable():
        return text
    import re

    text = re.sub("\x1b\\[[0-9;]*m|\r(?=\n)", "", text)
    return re.sub("[^\t\n]+", lambda found: printable(found[0]), text)


class NixOciError(Exception):
    """Base of every error that the core raises on purpose.

    `str(error)` is one or more sentences for the user; the facts are attributes of the subclass.

    :param message: is made `printable`.
    :param printed: follows in lines of its own: what a program printed, made `printable_lines`.
    """

    def __init__(self, message: str, printed: str = "") -> None:
        lines = [printable(message), *([printable_lines(printed)] if printed else [])]
        super().__init__("\n".join(lines))

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
        super().__init__(
            f"{printable(what, _LONGEST_VALUE)} {_quoted(value)} is not valid: "
            f"{printable(why, _LONGEST_REASON)}."
        )


def _quoted(value: object) -> str:
    try:
        return printable(repr(value), _LONGEST_VALUE)
    except (RecursionError, ValueError):
        # Too deep, or a number of too many digits.
        return f"of type {type(value).__name__}"



def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, (str, int)) for item in value)
    return isinstance(value, (str, int))
