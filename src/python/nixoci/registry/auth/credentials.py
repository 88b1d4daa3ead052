"""What a user shows a registry."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """Name and password, or a token that stands for a user. Neither is ever shown.

    :param identity_token: an OAuth2 refresh token, in place of a password.
    :param source: the file or the program that has it, for errors.
    """

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    source: str = field(default="", compare=False)
