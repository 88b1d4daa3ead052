"""What keeps an image from being a base: a sentence each, that follows the name of the image."""

from __future__ import annotations

from nixoci.errors import NixOciError


class UnusableBaseError(NixOciError):
    """An image cannot be the base of another one.

    :param why: what is wrong, and the way out.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)
