"""What the handler of a connection needs of the server that it belongs to."""

from __future__ import annotations

import socket
from http.server import ThreadingHTTPServer
from typing import Callable, Mapping

from nixoci.errors import NixOciError
from nixoci.registry.server.served_images import ServedRepository


class HandlerServer(ThreadingHTTPServer):
    """A server with what its handlers read and report; its children set all of it."""

    repositories: Mapping[str, ServedRepository]
    #: Gets one line for every answered request and one for every failure.
    log: Callable[[str], object]
    #: Gets the error of every layer that cannot be streamed.
    failed: Callable[[NixOciError], object]
    #: Whether anybody ever asked for anything.
    was_asked: bool

    def is_own_name(self, host: str) -> bool:
        """Whether a request for `host` (a name or an address) may be meant for this server."""
        raise NotImplementedError

    def waits(self, connection: socket.socket) -> None:
        """Is told that a connection waits for a request from now on."""
        raise NotImplementedError

    def works(self, connection: socket.socket) -> bool:
        """Is told that a connection has a request; returns whether it may be answered now."""
        raise NotImplementedError
