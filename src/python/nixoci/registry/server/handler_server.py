"""What the handler of a connection needs of the server that it belongs to."""

from __future__ import annotations

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
