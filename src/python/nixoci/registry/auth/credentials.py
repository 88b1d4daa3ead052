"""What a user shows a registry."""

from __future__ import annotations

from dataclasses import dataclass, field

from nixoci.errors import InvalidInputError


@dataclass(frozen=True)
class Credentials:
    """Name and password, or a token that stands for a user. Neither is ever shown.

    :param identity_token: an OAuth2 refresh token, in place of a password.
    :param source: the file or the program that has it, for errors.
    :raises InvalidInputError: they are no Unicode text, with half of a surrogate pair.
    """

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        try:
            "".join((self.username, self.password, self.identity_token)).encode()
        except UnicodeEncodeError:
            # None of them may be shown.
            raise InvalidInputError("account", "", "it is not Unicode text") from None
