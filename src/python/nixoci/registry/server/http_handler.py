"""HTTP of the read-only registry: reads one request after the other on one connection, and answers."""

from __future__ import annotations

import io
import json
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, Mapping, Optional

from nixoci.registry.errors import printable
from nixoci.registry.server.handler_server import HandlerServer

#: Seconds in which a request must be there, from the end of the last one on.
REQUEST_TIMEOUT = 60
#: Seconds in which a client must take a piece of at most 256 KiB. It may be on its way to a slow
#: registry.
SEND_TIMEOUT = 300

_TLS_HANDSHAKE = b"\x16"
_MOST_UNREAD = 1 << 20


class ClientGoneError(Exception):
    """The client closed the connection, or takes nothing more; there is nobody to answer."""


class _RequestReader(io.RawIOBase):
    """Reads from a socket until a point in time; after that, it is a time-out.

    A limit for each `recv` alone would let a client hold its thread for ever, byte by byte.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class HttpHandler(BaseHTTPRequestHandler):
    """Reads, sends and logs; its children say what is answered, in `do_GET` and the like.

    The base limits request lines and headers.
    """

    server: HandlerServer
    rfile: io.BufferedReader
    _headers_buffer: list[bytes]
    protocol_version = "HTTP/1.1"
    # Who sends no version, or no HTTP at all, gets a status line too. By that, docker and others
    # that try TLS first learn to go on without.
    default_request_version = "HTTP/1.1"
    server_version = "nixoci"
    sys_version = ""

    def setup(self) -> None:
        """Prepares the connection."""
        self.connection = self.request
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._reader = _RequestReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)
        self.wfile = io.BytesIO()
        #: Whether anything of the answer to the present request was sent.
        self.begun = False

    def finish(self) -> None:
        """Lets the client read the last answer.

        Closing while something that it sent is unread would make the kernel take the answer back.
        """
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            unread = 0
            deadline = time.monotonic() + 2
            while unread < _MOST_UNREAD and time.monotonic() < deadline:
                count = len(self.connection.recv(1 << 16))
                if not count:
                    break
                unread += count
        except OSError:
            # There is no client any more that could read.
            pass

    def handle_one_request(self) -> None:
        """Reads a request, if the connection still has one, and answers it."""
        self.begun = False
        self._reader.deadline = time.monotonic() + REQUEST_TIMEOUT
        self.close_connection = True
        try:
            first = self.rfile.peek(1)[:1]
            self.server.was_asked = self.server.was_asked or bool(first)
            if first == _TLS_HANDSHAKE:
                # A TLS hello has no end of a line that could be waited for.
                self.requestline, self.command = "(TLS)", "GET"
                self.request_version = self.protocol_version
                self.send_error(400, "This registry speaks plain HTTP.")
                return
            super().handle_one_request()
        except (OSError, ClientGoneError):
            self.close_connection = True
        if not self.close_connection:
            self.server.waits(self.connection)

    def parse_request(self) -> bool:
        """Parses a request whose first line is there, and refuses one that must not be answered."""
        if not super().parse_request():
            return False
        hosts: list[str] = self.headers.get_all("Host", [])
        if len(hosts) > 1:
            self.send_error(400, "A request has one Host.")
        elif hosts and not self.server.is_own_name(_name_in(hosts[0])):
            # Another site that resolves its name to loopback would have a browser ask for it.
            self.send_error(
                421, "This registry is on a loopback address, and is asked by that or as localhost."
            )
        elif not self.server.works(self.connection):
            self.close_connection = True
            self.refuse(429, "TOOMANYREQUESTS", "Too many requests at once.", {"Retry-After": "1"})
        else:
            return True
        return False

    def require_client(self) -> None:
        """Checks that the client is still there, while nothing is sent that would show it.

        :raises ClientGoneError: it has closed the connection.
        """
        try:
            self.connection.settimeout(0)
            if self.connection.recv(1, socket.MSG_PEEK):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        raise ClientGoneError

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Sends status line and headers."""
        self.send_response_only(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.begun = True
        self.end_headers()

    def flush_headers(self) -> None:
        """Sends the headers that `end_headers` has completed."""
        self.send_bytes(b"".join(self._headers_buffer))
        self._headers_buffer = []

    def send(
        self, status: int, content: bytes, media_type: str, headers: Mapping[str, str]
    ) -> None:
        """Sends a whole answer, and logs it."""
        self.begin(
            status, {**headers, "Content-Type": media_type, "Content-Length": str(len(content))}
        )
        size = 0 if self.command == "HEAD" else len(content)
        if size:
            self.send_bytes(content)
        self.log_request(status, size)

    def send_json(
        self, document: object, status: int = 200, headers: Optional[Mapping[str, str]] = None
    ) -> None:
        """Sends a JSON document."""
        self.send(status, json.dumps(document).encode(), "application/json", headers or {})

    def refuse(
        self, status: int, code: str, message: str, headers: Optional[Mapping[str, str]] = None
    ) -> None:
        """Sends an error in the form of the distribution specification ("Error Codes")."""
        self.send_json({"errors": [{"code": code, "message": message}]}, status, headers)

    def send_error(
        self, code: int, message: Optional[str] = None, explain: Optional[str] = None
    ) -> None:
        """Answers what is no proper request; the connection ends then."""
        self.close_connection = True
        # What method a request that does not parse has is not known.
        self.command = self.command or "GET"
        self.refuse(int(code), "UNSUPPORTED", message or "This is not a valid request.")

    def send_bytes(self, data: object) -> None:
        """Sends a piece of an answer.

        :raises ClientGoneError: the client does not take it.
        """
        try:
            self.connection.settimeout(SEND_TIMEOUT)
            self.connection.sendall(data)  # type: ignore[arg-type]
        except OSError:
            raise ClientGoneError from None

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Logs one line: method, path, status and bytes of the body."""
        self.log_message("%s %s %s", self.requestline.partition(" HTTP/")[0] or "-", code, size)

    def log_message(self, format: str, *values: object) -> None:
        """Logs one line, in which nothing that clients sent can break lines or colour terminals."""
        self.server.log(printable(format % values, longest=2000))


def _name_in(host: str) -> str:
    """Returns the name or address in a `Host` header, which may have a port too."""
    name, _, port = host.strip().rpartition(":")
    if not name or not (port.isascii() and port.isdigit() or not port):
        name = host.strip()
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name
