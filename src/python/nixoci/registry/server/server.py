"""A read-only registry that streams layers out of the store (OCI distribution specification, pull).

It serves images to unpatched tools: `skopeo copy`, `podman pull`, `docker pull`. It asks nobody who
they are, so by default it listens on the loopback interface alone.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Mapping, Optional, Type

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.registry.address import is_loopback
from nixoci.registry.server.handler_server import HandlerServer
from nixoci.registry.server.routes import RequestHandler
from nixoci.registry.server.served_images import ServedRepository

#: Connections that wait for a request. Each costs a thread; with one more, the one that has waited
#: longest is closed, which a client expects of any server.
MAX_WAITING = 100
#: Requests that are answered at the same time. Clients take some layers at a time, each over a
#: connection of its own.
MAX_WORKING = 100


class ListenError(NixOciError):
    """The server cannot listen where it was asked to.

    :param address: `host:port`.
    """

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(
            f"Cannot listen on {address}: {reason}; choose another address or port (port 0 is any "
            "free one)."
        )


class ReadOnlyRegistry(HandlerServer):
    """A registry of fixed contents; a context manager that serves while its body runs.

    :param listen: `host:port`, port 0 for a free one; an IPv6 address is in brackets.
    :param log: gets one line for every answered request and one for every failure, without a line
        break, from several threads. It must not raise.
    :param failed: gets the error of every layer that cannot be streamed, from several threads.
    :raises InvalidInputError: `listen` is no such text.
    :raises ListenError: the operating system refused.
    """

    # A connection that still runs when the program ends is cut.
    daemon_threads = True
    allow_reuse_address = True
    # On loopback the answer to a burst of connections must not depend on luck.
    request_queue_size = 128

    def __init__(
        self,
        repositories: Mapping[str, ServedRepository],
        *,
        listen: str = "127.0.0.1:0",
        log: Callable[[str], object] = lambda line: None,
        failed: Callable[[NixOciError], object] = lambda error: None,
    ) -> None:
        self.repositories = repositories
        self.log = log
        self.failed = failed
        self.was_asked = False
        # In the order in which they began to wait.
        self._waiting: dict[socket.socket, None] = {}
        self._working: set[socket.socket] = set()
        self._lock = threading.Lock()
        host, port = parse_listen_address(listen)
        self._name = host.lower()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), RequestHandler)
        except OSError as error:
            raise ListenError(listen, error.strerror or str(error)) from None
        except TypeError:
            raise ListenError(listen, "no host has this name") from None

    @property
    def address(self) -> str:
        """Where it listens, as the first part of image references: `127.0.0.1:40123`."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, (bytes, bytearray)) else str(host)
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def server_bind(self) -> None:
        """As its base's, which would also ask the name service for the host's name."""
        socketserver.TCPServer.server_bind(self)

    def __enter__(self) -> ReadOnlyRegistry:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in (*self._waiting, *self._working):
                _cut(connection)

    def is_own_name(self, host: str) -> bool:
        """Whether `host` may be the server: one on loopback is asked by that, or as it was started.

        Elsewhere there is no telling by which names machines know it.
        """
        if not is_loopback(str(self.server_address[0])):
            return True
        return is_loopback(host.rstrip(".")) or host.lower() == self._name

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Takes every connection in."""
        self.waits(request)
        return True

    def waits(self, connection: socket.socket) -> None:
        """Cuts the connection that has waited longest, if `MAX_WAITING` others do."""
        with self._lock:
            self._working.discard(connection)
            if len(self._waiting) >= MAX_WAITING:
                longest = next(iter(self._waiting))
                del self._waiting[longest]
                _cut(longest)
            self._waiting[connection] = None

    def works(self, connection: socket.socket) -> bool:
        """Returns false if `MAX_WORKING` other connections work."""
        with self._lock:
            if len(self._working) >= MAX_WORKING:
                return False
            self._waiting.pop(connection, None)
            self._working.add(connection)
            return True

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection, and forgets it first."""
        with self._lock:
            self._waiting.pop(request, None)
            self._working.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs an error that `RequestHandler` does not expect; only this connection ends."""
        self.log(f"unexpected error: {sys.exc_info()[1]!r}")


def parse_listen_address(text: str) -> tuple[str, int]:
    """Parses `host:port`.

    :raises InvalidInputError: not such a text.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    is_number = port.isascii() and port.isdigit() and len(port) < 6
    if not (colon and host and is_number and int(port) < 1 << 16):
        raise InvalidInputError(
            "address to listen on", text, "expected host:port, such as 127.0.0.1:5000"
        )
    return host, int(port)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client was quicker.
        pass
