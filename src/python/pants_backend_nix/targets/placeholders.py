"""Values of the placeholders in names of images, and how they are shortened: `{pants.hash:12}`."""

from __future__ import annotations

import re

from pants.util.value_interpolation import InterpolationError

#: The most characters that a tag can have.
_MOST = 128

#: As in `str.format`, a dot can be before a length.
_FORMAT = re.compile(r"\.?(?P<length>[0-9]{1,9})|slug(?::\.?(?P<slug_length>[0-9]{1,9}))?")


def slug(text: str, length: int = _MOST) -> str:
    """Returns what can be a tag, or a part of a repository name, of any text: `feature/ABC_1` → `feature-abc-1`.

    As GitLab makes `CI_COMMIT_REF_SLUG`, which has a `length` of 63: everything but letters and digits of ASCII
    becomes `-`, and none is first or last.

    :returns: empty for a text without such letters and digits among its first `length` characters.
    """
    return re.sub("[^a-z0-9]", "-", text.lower())[:length].strip("-")


class Placeholder(str):
    """A value of which a format in the placeholder makes a shorter one, or a slug."""

    def __format__(self, spec: str) -> str:
        """Formats as `12` or `.12` (the first 12 characters), `slug`, or `slug:12`.

        :raises InterpolationError: another format, one that leaves nothing.
        """
        text = str.__str__(self)
        if not spec:
            return text
        match = _FORMAT.fullmatch(spec)
        if match is None:
            raise InterpolationError(
                f"A placeholder has no format {spec!r}. There are `:12` for the first 12 characters, `:slug` for "
                "letters and digits with `-` between them, and `:slug:12` for a slug of at most 12 characters."
            )
        length = int(match["length"] or match["slug_length"] or _MOST)
        if not 1 <= length <= _MOST:
            raise InterpolationError(
                f"A placeholder has no format {spec!r}: its length must be 1 to {_MOST}, as that of a tag."
            )
        if match["length"]:
            return text[:length]
        found = slug(text, length)
        if not found:
            raise InterpolationError(
                f"{text!r} has nothing that the format {spec!r} keeps, which is letters (a-z) and digits."
            )
        return found

    def __str__(self) -> str:
        """Returns itself, so that `!s` in front of a format changes nothing."""
        return self


class HashPlaceholder(Placeholder):
    """A hash: of fixed length, and with nothing in it that a slug would not have."""

    def __format__(self, spec: str) -> str:
        found = super().__format__(spec)
        if spec and found == self:
            raise InterpolationError(
                f"The format {spec!r} changes nothing: the hash is {len(self)} letters and digits. Take the format "
                "away, or give it a smaller length, such as `:12`."
            )
        return found


class TemplatePlaceholder(str):
    """A text with placeholders of its own, which are replaced after it was put in."""

    def __format__(self, spec: str) -> str:
        if spec:
            raise InterpolationError(
                f"The format {spec!r} is for values, and {str(self)!r} has placeholders of its own. Use the format "
                "in these, such as `{directory:slug}`."
            )
        return str(self)
