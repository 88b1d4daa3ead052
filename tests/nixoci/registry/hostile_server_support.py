"""Servers on the loopback interface that say whatever a test wants, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Callable, Iterator

#: Answers what was asked, whose head (until the empty line) it gets.
Act = Callable[[socket.socket, bytes], None]


@contextlib.contextmanager
def listening(act: Act) -> Iterator[int]:
    """Starts a server and yields its port; each connection gets `act`, in a thread, for each request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, act), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        # What waits in `accept` does not notice that it is closed.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, act: Act) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection = listener.accept()[0]
            threading.Thread(target=_serve, args=(connection, act), daemon=True).start()


def _serve(connection: socket.socket, act: Act) -> None:
    # A client that has heard enough hangs up.
    with connection, contextlib.suppress(OSError):
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                # Also the first byte of TLS, which is not spoken here.
                if byte in (b"", b"\x16"):
                    return
                head += byte
            act(connection, head)
