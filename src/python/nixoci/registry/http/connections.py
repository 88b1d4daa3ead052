"""Connections to registries: TLS, proxies, one request and its answer. No retries here.

Each thread has its own connection to an origin, which stays open for the next request.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from dataclasses import dataclass
from email.message import Message
from typing import Callable, Mapping, Optional, Union

from nixoci.registry.address import Origin, Url
from nixoci.registry.errors import ConnectionFailedError, WrongProtocolError
from nixoci.registry.http.failures import connection_failure
from nixoci.registry.http.proxy import Proxy, proxy_of
from nixoci.registry.http.tls import tls_context
from nixoci.registry.settings import RegistrySettings

#: Seconds until a connection stands, and until a registry takes or gives the next bytes. Some
#: registries answer the end of an upload only after they have read all of it again.
CONNECT_TIME_LIMIT = 20.0
SILENCE_TIME_LIMIT = 300.0
_PROBE_TIME_LIMIT = 5.0
_HANG_UP_TIME_LIMIT = 2.0

#: Bytes of an answer that are read by default. Tokens and error reports are far smaller.
_LONGEST_ANSWER = 1 << 18


@dataclass(frozen=True)
class Body:
    """What a request sends.

    :param size: bytes.
    :param stream: hands all of it over, piece by piece; can be called again.
    """

    size: int
    stream: Callable[[Callable[[Union[bytes, memoryview]], None]], object]

    @classmethod
    def of_bytes(cls, content: bytes) -> Body:
        return cls(len(content), lambda write: write(content))


@dataclass(frozen=True)
class Answer:
    """What came back.

    :param url: what was asked, after redirects: the base of a relative `Location`.
    :param body: its first bytes, see `Connections`.
    """

    url: Url
    status: int
    reason: str
    headers: Message
    body: bytes


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
    ) -> Answer:
        """Sends one request and returns the answer, whatever its status is.

        :param settings: of the host of `url`.
        :raises ConnectionFailedError: also for an answer that is not HTTP or is cut short.
        :raises UntrustedCertificateError: and `WrongProtocolError`, see there.
        """
        connection, used_before = self._connection(url.origin, settings)
        try:
            answer = self._exchange_on(connection, url, method, headers, body)
        except (ConnectionFailedError, WrongProtocolError) as error:
            self._drop(url.origin, connection)
            # A registry may end an idle connection at any moment, also just before it is used.
            if not used_before or body is not None or isinstance(error, WrongProtocolError):
                raise
            connection, _ = self._connection(url.origin, settings)
            try:
                return self._exchange_on(connection, url, method, headers, body)
            except BaseException:
                self._drop(url.origin, connection)
                raise
        except BaseException:
            self._drop(url.origin, connection)
            raise
        return answer

    def speaks_tls(self, origin: Origin) -> bool:
        """Whether a server at `origin` speaks TLS; no proxy is used, nothing is verified."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        address = (origin.host, origin.port)
        try:
            with socket.create_connection(address, _PROBE_TIME_LIMIT) as plain:
                with context.wrap_socket(plain, server_hostname=origin.host):
                    return True
        except ssl.SSLError as error:
            # Whoever sends an alert, for example for want of a client certificate, speaks TLS.
            return "ALERT" in (error.reason or "")
        except OSError:
            return False

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
            plain = _PlainConnection(host, port, timeout=CONNECT_TIME_LIMIT)
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
    ) -> Answer:
        started = False
        send_error = None

        def send(data: Union[bytes, memoryview]) -> None:
            nonlocal started
            try:
                if not started:
                    started = True
                    self._send_head(connection, url, method, headers, body)
                connection.send(data)
            except (OSError, http.client.HTTPException) as error:
                raise _SendError(error) from None

        try:
            if body is not None:
                # What makes the bytes may first have to build them, and a registry does not wait
                # for so long: its connection is made use of when the first bytes are there.
                try:
                    body.stream(send)
                except _SendError:
                    raise
                except BaseException:
                    _hang_up(connection)
                    raise
            if not started:
                self._send_head(connection, url, method, headers, body)
        except _SendError as error:
            # The registry may have answered without waiting for the rest.
            send_error = error.error
        except (OSError, http.client.HTTPException) as error:
            # Of the head. The errors of what makes the bytes are no such ones.
            raise connection_failure(url, error) from None
        try:
            response = connection.getresponse()
            content = response.read(self._longest_answer)
            if response.length and len(content) < self._longest_answer:
                raise http.client.IncompleteRead(content, response.length)
            complete = response.isclosed()
        except (OSError, http.client.HTTPException) as error:
            raise connection_failure(url, send_error or error) from None
        answer = Answer(url, response.status, response.reason, response.headers, content)
        # What a TLS server says of plain HTTP is in the body, and a HEAD has none.
        if response.status == 400 and self._is_tls_after_all(connection, url.origin):
            raise WrongProtocolError(str(url.origin), speaks_tls=True)
        if send_error is not None or not complete or response.will_close:
            connection.close()
        return answer

    def _is_tls_after_all(self, connection: http.client.HTTPConnection, origin: Origin) -> bool:
        is_direct = isinstance(connection, _PlainConnection) and connection.proxy is None
        return is_direct and self.speaks_tls(origin)

    def _send_head(
        self,
        connection: http.client.HTTPConnection,
        url: Url,
        method: str,
        headers: Mapping[str, str],
        body: Optional[Body],
    ) -> None:
        if connection.sock is None:
            connection.connect()
            # A connection that stands has a socket; the library's types do not say so.
            connection.sock.settimeout(self._silence_time_limit)  # type: ignore[attr-defined]
        target, headers = _through_proxy(connection, url, headers)
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None or method in ("POST", "PUT"):
            connection.putheader("Content-Length", str(body.size if body else 0))
        connection.endheaders()


class _PlainConnection(http.client.HTTPConnection):
    """A connection without encryption, perhaps to a proxy that passes each request on."""

    proxy: Optional[Proxy] = None


class _SendError(Exception):
    """The socket took no more. It is no `OSError`, which packing would blame on the store."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(error)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """Ends a request in its midst, and waits until the registry took notice.

    Otherwise the registry might still be storing the first part when it is told to delete it.
    """
    opened = connection.sock
    if opened is None:
        return
    try:
        opened.settimeout(_HANG_UP_TIME_LIMIT)
        opened.shutdown(socket.SHUT_WR)
        while opened.recv(4096):
            # Whatever it says, the request has failed.
            continue
    except OSError:
        # The connection is closed next in any case.
        return


def _through_proxy(
    connection: http.client.HTTPConnection, url: Url, headers: Mapping[str, str]
) -> tuple[str, Mapping[str, str]]:
    """A proxy for plain HTTP gets the whole URL in the request line (RFC 9112, section 3.2.2)."""
    if not isinstance(connection, _PlainConnection) or connection.proxy is None:
        return url.target, headers
    return f"http://{url.origin}{url.target}", {**headers, **connection.proxy.headers}
