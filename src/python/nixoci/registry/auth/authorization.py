"""What a registry is told about who asks: the header `Authorization`, and where it comes from.

A registry that wants to know answers 401 with a challenge. After the first one it is known whether
it takes name and password (basic) or tokens; tokens are fetched for each scope, kept while they are
valid, and fetched again when the registry refuses one.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional
from urllib.parse import urlencode

from nixoci.errors import NixOciError
from nixoci.json_input import get_field, parse_object
from nixoci.registry.address import Url, is_loopback, parse_url, with_query
from nixoci.registry.auth.challenge import Challenge, parse_challenges
from nixoci.registry.auth.credentials import Credentials
from nixoci.registry.errors import (
    AuthenticationError,
    IdentityTokenError,
    RegistryError,
    UnencryptedTokenServerError,
    printable,
)
from nixoci.registry.http.answers import describe
from nixoci.registry.http.exchange import Answer, Body
from nixoci.secrets import add_secrets

#: Seconds that a token is valid if its server does not say (distribution's token specification).
_DEFAULT_LIFETIME = 60

#: Seconds that no token is used for longer, whatever its server says: a day.
_LONGEST_LIFETIME = 86_400

#: The part of a token's life after which it is not used for a new request.
_SAFE_PART = 0.8

#: What a token server says that only has GET, for names and passwords.
_NO_OAUTH2_STATUSES = frozenset((404, 405, 501))

_TOKEN = re.compile(r"[!-~]{1,16384}")

#: Sends one request and tries again where that helps: URL, method, headers, body.
Ask = Callable[[Url, str, Mapping[str, str], Optional[Body]], Answer]

#: Scopes as in `repository:acme/api:pull,push`, sorted.
Scopes = tuple[str, ...]


@dataclass(frozen=True)
class _Token:
    """What a request is authorised with: a header, and how long."""

    header: str = field(repr=False)
    #: By the monotonic clock.
    valid_until: float = 0.0


class Authorization:
    """Who asks one repository's registry. Threads can share it.

    :param registry: `host` or `host:port`.
    :param encrypted: whether the registry is spoken to in HTTPS; then tokens are too.
    :param credentials: None for an anonymous user.
    :param searched: the files that the credentials were looked for in.
    :param allow_plain_http: whether the user wants a host to be spoken to without encryption.
    """

    def __init__(
        self,
        registry: str,
        *,
        encrypted: bool,
        credentials: Optional[Credentials],
        searched: tuple[str, ...],
        ask: Ask,
        allow_plain_http: Callable[[str], bool],
    ) -> None:
        self._registry = registry
        self._encrypted = encrypted
        self._credentials = credentials
        self._searched = searched
        self._ask = ask
        self._allow_plain_http = allow_plain_http
        self._lock = threading.Lock()
        self._challenge: Optional[Challenge] = None
        self._tokens: dict[Scopes, _Token] = {}

    @property
    def user_known(self) -> bool:
        """Whether there are credentials."""
        return self._credentials is not None

    def header(self, scopes: Scopes) -> Optional[str]:
        """Returns the header to send; None as long as the registry asked for none.

        :raises AuthenticationError: no token is to be had any more.
        """
        with self._lock:
            if self._challenge is None:
                return None
            return self._header(self._challenge, scopes)

    def answer_challenge(
        self, answer: Answer, scopes: Scopes, sent: Optional[str], *, own: bool = False
    ) -> tuple[str, bool]:
        """Returns the header to send in place of the one that was refused with status 401.

        :param sent: the header of the refused request.
        :param own: whether a token is fetched even if there is another one than that of `sent`.
        :returns: the header, and whether its token is one that another thread has fetched and used.
        :raises AuthenticationError: there is no other to try.
        """
        challenges = parse_challenges(answer.headers.get_all("WWW-Authenticate") or [])
        with self._lock:
            self._challenge = self._choose(challenges, answer)
            token = self._tokens.get(scopes)
            # Another thread may have fetched a new token in the meantime.
            if token is not None and (own or token.header == sent):
                del self._tokens[scopes]
                token = None
            header = self._header(self._challenge, scopes)
        # Some token servers give the same token for a while.
        if header == sent and not own:
            raise self.refused(describe(answer))
        return header, token is not None and header == token.header

    def refused(self, why: str) -> AuthenticationError:
        """Returns the error for a registry that takes no header that can be offered."""
        return AuthenticationError(
            self._registry,
            user_known=self.user_known,
            why=why,
            searched=self._searched,
            source=self._credentials.source if self._credentials else "",
        )

    def _choose(self, challenges: tuple[Challenge, ...], answer: Answer) -> Challenge:
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                return challenge
        for challenge in challenges:
            if challenge.scheme == "basic":
                if self._credentials is not None and self._credentials.password:
                    return challenge
                if self._credentials is not None and self._credentials.identity_token:
                    why = "it asks for a name and a password"
                    raise IdentityTokenError(self._registry, self._credentials.source, why)
                raise self.refused(describe(answer))
        names = ", ".join(challenge.scheme for challenge in challenges) or "no way"
        raise self.refused(f"it offers {printable(names, 60)} to log in, not basic or bearer")

    def _header(self, challenge: Challenge, scopes: Scopes) -> str:
        if challenge.scheme == "basic":
            assert self._credentials is not None
            return _basic(self._credentials)
        token = self._tokens.get(scopes)
        if token is None or token.valid_until < time.monotonic():
            token = self._tokens[scopes] = self._fetch(challenge, scopes)
        return token.header

    def _fetch(self, challenge: Challenge, scopes: Scopes) -> _Token:
        realm = self._realm(challenge)
        service = challenge.parameters.get("service", "")
        started = time.monotonic()
        credentials = self._credentials
        answer: Optional[Answer] = None
        if credentials is not None and credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": "nixoci",
                "service": service,
                "scope": " ".join(scopes),
                "refresh_token": credentials.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            add_secrets(credentials.identity_token)
            body = Body.of_bytes(urlencode(form).encode())
            answer = self._ask(realm, "POST", headers, body)
            if answer.status in _NO_OAUTH2_STATUSES:
                if not credentials.password:
                    why = (
                        f"its token server {realm.origin} answers {describe(answer)} to a POST, with "
                        "which access tokens are had for identity tokens (OAuth2)"
                    )
                    raise IdentityTokenError(self._registry, credentials.source, why)
                # All token servers have the way for names and passwords.
                answer = None
        if answer is None:
            query = [("service", service)] if service else []
            query += [("scope", scope) for scope in scopes]
            target = with_query(realm.target, urlencode(query))
            headers = {"Authorization": _basic(credentials)} if credentials else {}
            answer = self._ask(Url(realm.origin, target), "GET", headers, None)
        if answer.status != 200:
            if answer.status in (400, 401, 403):
                raise self.refused(f"its token server answers {describe(answer)}")
            raise RegistryError(
                self._registry,
                f"The token server {realm.origin} of the registry {self._registry} answers "
                f"{describe(answer)}; its log should tell more.",
            )
        text, lifetime = self._parse_token(realm, answer.body)
        add_secrets(text)
        return _Token(f"Bearer {text}", started + lifetime * _SAFE_PART)

    def _realm(self, challenge: Challenge) -> Url:
        """Where tokens are had. The registry decides; but secrets stay encrypted."""
        realm = parse_url(challenge.parameters["realm"])
        if realm is None:
            shown = printable(challenge.parameters["realm"], 80)
            raise self.refused(f"it names no proper address for tokens: {shown!r}")
        host = realm.origin.host
        if realm.origin.scheme == "https" or is_loopback(host) or self._allow_plain_http(host):
            return realm
        # Who has no credentials tells others none.
        if self._encrypted or self._credentials is not None:
            raise UnencryptedTokenServerError(self._registry, str(realm.origin))
        return realm

    def _parse_token(self, realm: Url, content: bytes) -> tuple[str, int]:
        try:
            document = parse_object("token", content)
            text = get_field(document, "token", str, "") or get_field(document, "access_token", str)
            lifetime = get_field(document, "expires_in", int, _DEFAULT_LIFETIME)
            if _TOKEN.fullmatch(text):
                return text, min(max(lifetime, 0), _LONGEST_LIFETIME)
        except NixOciError:
            # Its message would quote the token.
            pass
        raise RegistryError(
            self._registry,
            f"The token server {realm.origin} of the registry {self._registry} answers something "
            "else than a token; check the address of the registry.",
        )


def _basic(credentials: Credentials) -> str:
    account = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    if credentials.password:
        add_secrets(account.rstrip("="), credentials.password)
    return f"Basic {account}"
