"""What a user shows a registry."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """Name and password, or a token that stands for a user. Neither is ever shown.

    :param identity_token: an OAuth2 refresh token, in place of a password.
    """

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
