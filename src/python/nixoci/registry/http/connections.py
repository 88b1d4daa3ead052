"""The open connections to registries, through TLS and proxies as they are wanted.

Each thread has its own connection to an origin, which stays open for the next request.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from typing import Mapping, Optional

from nixoci.registry.address import Origin, Url
from nixoci.registry.errors import ConnectionFailedError, WrongProtocolError
from nixoci.registry.http.exchange import (
    CONNECT_TIME_LIMIT,
    Answer,
    Body,
    PlainConnection,
    Receiver,
    exchange_on,
)
from nixoci.registry.http.proxy import Proxy, proxy_of
from nixoci.registry.http.tls import tls_context
from nixoci.registry.settings import RegistrySettings

#: Seconds that a registry has for the head of an answer, for the rest of it, and to take a portion of an
#: upload. Some answer the end of an upload only after they have read all of it again.
SILENCE_TIME_LIMIT = 300.0

#: Bytes of an answer that are read by default. Tokens and error reports are far smaller.
_LONGEST_ANSWER = 1 << 18


class Connections:
    """All open connections.

    :param environment: the proxy variables are read from it.
    :param longest_answer: bytes of an answer that are read.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        silence_time_limit: float = SILENCE_TIME_LIMIT,
        longest_answer: int = _LONGEST_ANSWER,
    ) -> None:
        self._environment = environment
        self._silence_time_limit = silence_time_limit
        self._longest_answer = longest_answer
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()
        self._aborted = False
        self._contexts: dict[tuple[str, RegistrySettings], ssl.SSLContext] = {}

    def exchange(
        self,
        url: Url,
        settings: RegistrySettings,
        method: str,
        headers: Mapping[str, str],
        body: Optional[Body] = None,
        receiver: Optional[Receiver] = None,
    ) -> Answer:
        """Sends one request and returns the answer, whatever its status is.

        :param settings: of the host of `url`.
        :param receiver: as of `exchange_on`.
        :raises ConnectionFailedError: also for an answer that is not HTTP or is cut short.
        :raises UntrustedCertificateError: and `WrongProtocolError`, see there.
        """
        connection, used_before = self._connection(url.origin, settings)
        try:
            return self._exchange_on(connection, url, method, headers, body, receiver)
        except (ConnectionFailedError, WrongProtocolError) as error:
            self._drop(url.origin, connection)
            # A registry may end an idle connection at any moment, also just before it is used.
            sent = body is not None or (receiver is not None and receiver.started)
            if not used_before or sent or isinstance(error, WrongProtocolError):
                raise
            connection, _ = self._connection(url.origin, settings)
            try:
                return self._exchange_on(connection, url, method, headers, body, receiver)
            except BaseException:
                self._drop(url.origin, connection)
                raise
        except BaseException:
            self._drop(url.origin, connection)
            raise

    def abort(self) -> None:
        """Breaks all connections, also those that another thread waits for; no new one is made."""
        with self._lock:
            self._aborted = True
            connections = list(self._open)
        for connection in connections:
            opened = connection.sock
            if opened is not None:
                try:
                    opened.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # It is closed already, which is what is wanted.
                    continue

    def close(self) -> None:
        """Closes all connections; nobody may be using one."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            connection.close()

    def _connection(
        self, origin: Origin, settings: RegistrySettings
    ) -> tuple[http.client.HTTPConnection, bool]:
        """Returns this thread's connection, and whether it was used before."""
        mine = self._of_thread.__dict__.setdefault("connections", {})
        connection = mine.get(origin)
        if connection is not None:
            return connection, connection.sock is not None
        proxy = proxy_of(origin, self._environment)
        connection = mine[origin] = self._new_connection(origin, settings, proxy)
        with self._lock:
            if self._aborted:
                raise ConnectionFailedError(str(origin), "it is not wanted any more")
            self._open.add(connection)
        return connection, False

    def _new_connection(
        self, origin: Origin, settings: RegistrySettings, proxy: Optional[Proxy]
    ) -> http.client.HTTPConnection:
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        if origin.scheme == "http":
            plain = PlainConnection(host, port, timeout=CONNECT_TIME_LIMIT)
            plain.proxy = proxy
            return plain
        context = self._context(origin.host, settings)
        secure = http.client.HTTPSConnection(
            host, port, timeout=CONNECT_TIME_LIMIT, context=context
        )
        if proxy is not None:
            secure.set_tunnel(origin.host, origin.port, headers=proxy.headers)
        return secure

    def _context(self, host: str, settings: RegistrySettings) -> ssl.SSLContext:
        with self._lock:
            context = self._contexts.get((host, settings))
            if context is None:
                context = self._contexts[host, settings] = tls_context(settings)
            return context

    def _drop(self, origin: Origin, connection: http.client.HTTPConnection) -> None:
        self._of_thread.connections.pop(origin, None)
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _exchange_on(
        self,
        connection: http.client.HTTPConnection,
        url: Url,
        method: str,
        headers: Mapping[str, str],
        body: Optional[Body],
        receiver: Optional[Receiver],
    ) -> Answer:
        return exchange_on(
            connection,
            url,
            method,
            headers,
            body,
            silence_time_limit=self._silence_time_limit,
            longest_answer=self._longest_answer,
            receiver=receiver,
        )
