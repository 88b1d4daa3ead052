"""A running server, and what it serves."""

from __future__ import annotations

import http.client
import socket
from contextlib import contextmanager
from typing import Iterator

from nixoci.errors import NixOciError
from nixoci.image.descriptor import Descriptor
from nixoci.image.layout import WriteLayer
from nixoci.image.reference import Reference
from nixoci.registry.server.served_images import serve_images
from nixoci.registry.server.server import ReadOnlyRegistry

from tests.nixoci.image.layout_support import KnownImage, known_image, sha256

REFERENCES = (Reference("acme/api", "1.0"), Reference("ghcr.io/acme/api", "latest"))
SMALL = b"small layer"
BIG = bytes(range(256)) * 8192


class Served:
    """A running server, what it logged and which errors it reported."""

    def __init__(self, known: KnownImage, write_layer: WriteLayer | None = None) -> None:
        self.known = known
        self.log: list[str] = []
        self.errors: list[NixOciError] = []
        descriptor = Descriptor(known.image, known.recipes, REFERENCES)
        self.registry = ReadOnlyRegistry(
            serve_images([(descriptor, REFERENCES)], write_layer or known.write_layer),
            log=self.log.append,
            failed=self.errors.append,
        )

    def connect(self) -> http.client.HTTPConnection:
        host, _, port = self.registry.address.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=20)

    def ask(
        self, method: str, path: str, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self.connect()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def send(self, data: bytes) -> bytes:
        """Sends bytes and returns all that comes back until the server closes."""
        host, _, port = self.registry.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(data)
            received = b""
            while True:
                piece = client.recv(1 << 16)
                if not piece:
                    return received
                received += piece


@contextmanager
def serving(write_layer: WriteLayer | None = None) -> Iterator[Served]:
    """A server of an image of two layers."""
    served = Served(known_image(SMALL, BIG), write_layer)
    with served.registry:
        yield served


def blob(content: bytes) -> str:
    """The path of a blob."""
    return f"/v2/acme/api/blobs/{sha256(content)}"
