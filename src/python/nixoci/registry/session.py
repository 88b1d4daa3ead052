"""Asking one registry: authorization, redirects and retries around each request."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Callable, Mapping, Optional, Union

from nixoci.registry.address import Origin, Url, is_loopback, registry_origin, resolve_location
from nixoci.registry.auth.authorization import Authorization, Scopes
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import (
    ConnectionFailedError,
    PermissionDeniedError,
    UnexpectedAnswerError,
    printable,
)
from nixoci.registry.http.answers import describe
from nixoci.registry.http.connections import Connections
from nixoci.registry.http.exchange import Answer, Body, Receiver
from nixoci.registry.http.retry import RETRYABLE_STATUSES, RetryPolicy
from nixoci.registry.http.tls import speaks_tls
from nixoci.registry.settings import Registries, RegistrySettings

_MOST_REDIRECTS = 5

#: The other redirects of writes mean that a GET should follow, which is no way to write.
_REDIRECTS_OF_READS = frozenset((301, 302, 303, 307, 308))
_REDIRECTS_OF_WRITES = frozenset((307, 308))


class Session:
    """One repository of a registry, asked on behalf of one user. Threads can share it."""

    def __init__(
        self,
        registry: str,
        repository: str,
        *,
        registries: Registries,
        connections: Connections,
        credentials: CredentialSearch,
        retry: RetryPolicy,
    ) -> None:
        self.registry = registry
        self.repository = repository
        self.retry = retry
        self._registries = registries
        self._settings = registries.settings_of(registry)
        self._connections = connections
        self._credentials = credentials
        self._lock = threading.Lock()
        self._known: Optional[tuple[Origin, Authorization]] = None
        #: Hosts that were there.
        self._answered: set[str] = set()

    def url(self, path: str) -> Url:
        """Returns the URL of `/v2/<repository>/<path>`; the path may have a query."""
        origin, _ = self._contact()
        return Url(origin, f"/v2/{self.repository}/{path}")

    def ask(
        self,
        url: Url,
        method: str,
        scopes: Scopes,
        headers: Mapping[str, str] = {},
        body: Optional[Body] = None,
        *,
        what: str,
        attempts: Optional[int] = None,
        receiver: Optional[Receiver] = None,
    ) -> Answer:
        """Sends a request, also a second time where that is safe, and returns the last answer.

        :param what: what is asked for, as `to write the manifest`.
        :param attempts: in place of those of the retry policy.
        :param receiver: as of `exchange_on`. Whoever has one tries again by itself, so with one attempt.
        :raises AuthenticationError: the registry lets nobody in with what there is.
        :raises PermissionDeniedError: it lets this user in, but not so far.
        :raises RegistryError: no answer came.
        """
        return self._persevere(
            lambda: self._follow(url, method, scopes, headers, body, what, receiver),
            attempts or self.retry.attempts,
        )

    def pause(self, attempt: int, trouble: Union[Answer, ConnectionFailedError]) -> None:
        """Waits before something is tried again, and tells the user for what.

        :raises ConnectionFailedError: `trouble`, where waiting does not help.
        """
        if isinstance(trouble, ConnectionFailedError):
            # What was there a moment ago is about to come back.
            if trouble.lasting and trouble.registry not in self._answered:
                raise trouble
            self.retry.pause(attempt, host=trouble.registry, why=trouble.why)
        else:
            retry_after = trouble.headers.get("Retry-After")
            host, why = str(trouble.url.origin), f"it answers {describe(trouble)}"
            self.retry.pause(attempt, retry_after, host=host, why=why)

    def unexpected(self, what: str, why: str) -> UnexpectedAnswerError:
        """Returns the error for an answer that is wrong in another way than by its status."""
        return UnexpectedAnswerError(self.registry, self.repository, what, why)

    def _follow(
        self,
        url: Url,
        method: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        body: Optional[Body],
        what: str,
        receiver: Optional[Receiver],
    ) -> Answer:
        """Sends a request and follows redirects (RFC 9110, section 15.4)."""
        follow = _REDIRECTS_OF_READS if method in ("GET", "HEAD") else _REDIRECTS_OF_WRITES
        for _ in range(_MOST_REDIRECTS):
            answer = self._authorized(url, method, scopes, headers, body, receiver)
            if answer.status not in follow:
                return answer
            location = answer.headers.get("Location", "")
            target = resolve_location(url, location)
            if target is None:
                raise self.unexpected(what, f"with a redirect to {printable(location, 100)!r}")
            url = target
        raise self.unexpected(what, f"with more than {_MOST_REDIRECTS} redirects")

    def _authorized(
        self,
        url: Url,
        method: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        body: Optional[Body],
        receiver: Optional[Receiver],
    ) -> Answer:
        """Sends a request, with the authorization if it goes to the registry itself."""
        origin, authorization = self._contact()
        if url.origin != origin:
            # Wherever the registry sends one to, its secrets are none of that host's business.
            return self._send(url, method, headers, body, receiver)
        sent = authorization.header(scopes)
        answer = self._send(url, method, _with(headers, sent), body, receiver)
        if answer.status == 401:
            renewed, shared = authorization.answer_challenge(answer, scopes, sent)
            answer = self._send(url, method, _with(headers, renewed), body, receiver)
            if answer.status == 401 and shared:
                # It was another thread's, and may have expired as the first one. A new one has not.
                renewed, _ = authorization.answer_challenge(answer, scopes, renewed, own=True)
                answer = self._send(url, method, _with(headers, renewed), body, receiver)
        if answer.status == 401:
            if renewed.startswith("Bearer ") and authorization.user_known:
                # The token server knows the user; the token it gave does not allow this.
                raise PermissionDeniedError(
                    self.registry,
                    self.repository,
                    describe(answer),
                    writes=any("push" in scope.rpartition(":")[2] for scope in scopes),
                )
            raise authorization.refused(describe(answer))
        return answer

    def _send(
        self,
        url: Url,
        method: str,
        headers: Mapping[str, str],
        body: Optional[Body],
        receiver: Optional[Receiver] = None,
    ) -> Answer:
        headers = {"User-Agent": "nixoci", **headers}
        answer = self._connections.exchange(
            url, self._settings_of(url.origin), method, headers, body, receiver
        )
        self._answered.add(str(url.origin))
        return answer

    def _ask_for_token(
        self, url: Url, method: str, headers: Mapping[str, str], body: Optional[Body]
    ) -> Answer:
        """As `ask`, without authorization and without redirects: the request has secrets in it."""
        return self._persevere(
            lambda: self._send(url, method, headers, body), self.retry.attempts
        )

    def _persevere(self, send: Callable[[], Answer], attempts: int) -> Answer:
        """Sends until there is an answer that a further attempt would not change."""
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                answer = send()
            except ConnectionFailedError as error:
                if last:
                    raise
                self.pause(attempt, error)
                continue
            if answer.status not in RETRYABLE_STATUSES or last:
                break
            self.pause(attempt, answer)
        return answer

    def _settings_of(self, origin: Origin) -> RegistrySettings:
        """Settings for any host: the registry's own, or those that the user gave for that host.

        Another host that belongs to the registry (its token server, its storage) often has a
        certificate of the same private authority; nothing else is carried over to it.
        """
        known = self._known
        if known is not None and origin == known[0]:
            return self._settings
        if self._registries.has(str(origin)):
            return replace(self._registries.settings_of(str(origin)), plain_http=False)
        if origin.host == registry_origin(self.registry, "https").host:
            return self._settings
        return RegistrySettings(self.registry, ca_file=self._settings.ca_file)

    def _contact(self) -> tuple[Origin, Authorization]:
        """Returns the origin of the registry; the first call finds out what it is."""
        with self._lock:
            if self._known is None:
                origin = self._find_origin()
                authorization = Authorization(
                    self.registry,
                    encrypted=origin.scheme == "https",
                    credentials=self._credentials.find(self.registry, self.repository),
                    searched=self._credentials.files,
                    ask=self._ask_for_token,
                    allow_plain_http=self._registries.allow_plain_http,
                )
                self._known = origin, authorization
            return self._known

    def _find_origin(self) -> Origin:
        if self._settings.plain_http:
            return registry_origin(self.registry, "http")
        origin = registry_origin(self.registry, "https")
        # What goes over the loopback interface needs no encryption, so nobody must ask for that.
        if is_loopback(origin.host) and self._settings == RegistrySettings(self.registry):
            if not speaks_tls(origin):
                return registry_origin(self.registry, "http")
        return origin


def _with(headers: Mapping[str, str], authorization: Optional[str]) -> Mapping[str, str]:
    return {**headers, "Authorization": authorization} if authorization else headers
