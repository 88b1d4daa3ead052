"""One request and its answer, on a connection to a registry or to a proxy. No retries here."""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import Callable, Mapping, Optional, Union

from nixoci.registry.address import Origin, Url
from nixoci.registry.errors import WrongProtocolError
from nixoci.registry.http.deadlines import LARGEST_HEAD, PORTION, BodySender, BoundedResponse
from nixoci.registry.http.failures import connection_failure
from nixoci.registry.http.proxy import Proxy
from nixoci.registry.http.tls import speaks_tls

#: Seconds until a connection stands, and until a proxy has let one through.
CONNECT_TIME_LIMIT = 20.0

_HANG_UP_TIME_LIMIT = 2.0


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
    :param body: its first bytes, see `exchange_on`.
    """

    url: Url
    status: int
    reason: str
    headers: Message
    body: bytes


class Receiver:
    """Takes the body of an answer part by part, in place of `Answer.body`."""

    #: Whether it got any part: the request must not be sent once more then, as if nothing had come of it.
    started = False

    def wants(self, status: int, headers: Message) -> bool:
        """Whether it takes the body of this answer, which is perhaps an error or a redirect."""
        raise NotImplementedError

    def write(self, part: memoryview) -> None:
        """Takes the next part. What it raises ends the exchange, and passes through."""
        raise NotImplementedError


class PlainConnection(http.client.HTTPConnection):
    """A connection without encryption, perhaps to a proxy that passes each request on."""

    proxy: Optional[Proxy] = None


def exchange_on(
    connection: http.client.HTTPConnection,
    url: Url,
    method: str,
    headers: Mapping[str, str],
    body: Optional[Body],
    *,
    silence_time_limit: float,
    longest_answer: int,
    receiver: Optional[Receiver] = None,
) -> Answer:
    """Sends one request and returns the answer, whatever its status is.

    After an error the connection is of no use any more.

    :param connection: is opened if need be, and closed if it cannot take another request.
    :param silence_time_limit: seconds for the head of the answer, for the rest of it, and for each portion
        of the body that is sent, see `nixoci.registry.http.deadlines`.
    :param longest_answer: bytes of the answer that are read.
    :param receiver: takes the whole body of an answer that it wants; each portion of it has the time limit.
    :raises ConnectionFailedError: also for an answer that is not HTTP or is cut short.
    :raises UntrustedCertificateError: and `WrongProtocolError`, see there.
    """

    def send_head() -> None:
        if connection.sock is None:
            _bound_answers(connection, CONNECT_TIME_LIMIT)
            connection.connect()
        _bound_answers(connection, silence_time_limit)
        # A connection that stands has a socket; the library's types do not say so.
        connection.sock.settimeout(silence_time_limit)  # type: ignore[union-attr]
        _send_head(connection, url, method, headers, body)

    send_error = None
    try:
        _send(connection, send_head, body, BodySender(silence_time_limit))
    except _SendError as error:
        # The registry may have answered without waiting for the rest.
        send_error = error.error
    except (OSError, http.client.HTTPException) as error:
        # Of the head. The errors of what makes the bytes are no such ones.
        raise connection_failure(url, error, connection.host) from None
    try:
        response = connection.getresponse()
        assert isinstance(response, BoundedResponse)
        if receiver is not None and receiver.wants(response.status, response.headers):
            _pass_on(response, receiver, silence_time_limit)
            content = b""
        else:
            # Chunks may be as small as a byte, with a line each.
            response.allow(silence_time_limit, LARGEST_HEAD + 8 * longest_answer)
            content = response.read(longest_answer)
            if response.length and len(content) < longest_answer:
                raise http.client.IncompleteRead(content, response.length)
        complete = response.isclosed()
    except _ReceiveError as error:
        raise error.error from None
    except (OSError, http.client.HTTPException) as error:
        raise connection_failure(url, send_error or error, connection.host) from None
    answer = Answer(url, response.status, response.reason, response.headers, content)
    # What a TLS server says of plain HTTP is in the body, and a HEAD has none.
    if response.status == 400 and _is_tls_after_all(connection, url.origin):
        raise WrongProtocolError(str(url.origin), speaks_tls=True)
    if send_error is not None or not complete or response.will_close:
        connection.close()
    return answer


def _pass_on(response: BoundedResponse, receiver: Receiver, seconds: float) -> None:
    """Hands the body of an answer to a receiver. The time that this one takes does not count.

    :raises _ReceiveError: it failed.
    """
    buffer = memoryview(bytearray(PORTION))
    while True:
        response.allow(seconds, LARGEST_HEAD + 8 * PORTION)
        count = response.readinto(buffer)
        if not count:
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return
        receiver.started = True
        try:
            receiver.write(buffer[:count])
        except Exception as error:
            raise _ReceiveError(error) from None


def _bound_answers(connection: http.client.HTTPConnection, seconds: float) -> None:
    connection.response_class = partial(BoundedResponse, seconds=seconds)  # type: ignore[assignment]


def _send(
    connection: http.client.HTTPConnection,
    send_head: Callable[[], None],
    body: Optional[Body],
    sender: BodySender,
) -> None:
    """Sends a request.

    :raises _SendError: the socket took no more of the body, or of the head that goes before it.
    """
    started = False

    def send(data: Union[bytes, memoryview]) -> None:
        nonlocal started
        try:
            if not started:
                started = True
                send_head()
            sender.send(connection.sock, data)
        except (OSError, http.client.HTTPException) as error:
            raise _SendError(error) from None

    if body is not None:
        # What makes the bytes may first have to build them, and a registry does not wait for so
        # long: its connection is made use of when the first bytes are there.
        try:
            body.stream(send)
        except _SendError:
            raise
        except BaseException:
            _hang_up(connection)
            raise
    if not started:
        send_head()


def _send_head(
    connection: http.client.HTTPConnection,
    url: Url,
    method: str,
    headers: Mapping[str, str],
    body: Optional[Body],
) -> None:
    target, headers = _through_proxy(connection, url, headers)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None or method in ("POST", "PUT"):
        connection.putheader("Content-Length", str(body.size if body else 0))
    connection.endheaders()


def _is_tls_after_all(connection: http.client.HTTPConnection, origin: Origin) -> bool:
    is_direct = isinstance(connection, PlainConnection) and connection.proxy is None
    return is_direct and speaks_tls(origin)


class _SendError(Exception):
    """The socket took no more. It is no `OSError`, which packing would blame on the store."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(error)


class _ReceiveError(Exception):
    """Whoever gets the body failed. It is no `OSError`, which would be blamed on the connection."""

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
    deadline = time.monotonic() + _HANG_UP_TIME_LIMIT
    try:
        opened.settimeout(_HANG_UP_TIME_LIMIT)
        opened.shutdown(socket.SHUT_WR)
        while opened.recv(4096) and time.monotonic() < deadline:
            # Whatever it says, the request has failed.
            continue
    except OSError:
        # The connection is closed next in any case.
        return


def _through_proxy(
    connection: http.client.HTTPConnection, url: Url, headers: Mapping[str, str]
) -> tuple[str, Mapping[str, str]]:
    """A proxy for plain HTTP gets the whole URL in the request line (RFC 9112, section 3.2.2)."""
    if not isinstance(connection, PlainConnection) or connection.proxy is None:
        return url.target, headers
    return f"http://{url.origin}{url.target}", {**headers, **connection.proxy.headers}
