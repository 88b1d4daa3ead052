"""The HTTP side of the read-only registry: one request after the other on one connection."""

from __future__ import annotations

import io
import json
import re
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Mapping, Optional
from urllib.parse import parse_qs

from nixoci.errors import NixOciError
from nixoci.image.image import MEDIA_TYPE_MANIFEST, Image
from nixoci.image.layout import Blob
from nixoci.registry.errors import printable
from nixoci.registry.server.byte_range import (
    ByteRange,
    RangeSink,
    UnsatisfiableRangeError,
    parse_range,
)
from nixoci.registry.server.served_images import ServedRepository

if TYPE_CHECKING:
    from nixoci.registry.server.server import ReadOnlyRegistry

#: Seconds in which a request must be there, from the end of the last one on.
REQUEST_TIMEOUT = 60
#: Seconds in which a client must take a piece of at most 256 KiB. It may be on its way to a slow
#: registry.
SEND_TIMEOUT = 300

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags)/(?P<reference>[^/]+)")
_TLS_HANDSHAKE = b"\x16"
_MOST_UNREAD = 1 << 20


class StreamFailedError(NixOciError):
    """The operating system refused something that making a blob takes, as to start Nix.

    :param digest: of the blob.
    """

    def __init__(self, digest: str, reason: str) -> None:
        self.digest = digest
        self.reason = reason
        super().__init__(f"The blob {digest} cannot be made: {reason}.")


class _ClientGoneError(Exception):
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


class RequestHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection. The base limits request lines and headers."""

    server: ReadOnlyRegistry
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
        self._begun = False

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
        self._begun = False
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
        except (OSError, _ClientGoneError):
            self.close_connection = True

    def do_GET(self) -> None:
        """Answers GET and HEAD; only what is sent after the headers differs."""
        if self.headers.get("Content-Length", "0").strip() != "0" or self.headers.get(
            "Transfer-Encoding"
        ):
            # What follows would be taken for the next request.
            self.close_connection = True
        path, _, query = self.path.partition("?")
        match = _ROUTE.fullmatch(path)
        if path in ("/v2", "/v2/"):
            self._send_json({})
        elif path == "/v2/_catalog":
            self._send_list("repositories", {}, list(self.server.repositories), path, query)
        elif match is None:
            self._refuse(404, "UNSUPPORTED", "There is nothing at this address.")
        else:
            repository = self.server.repositories.get(match["name"])
            if repository is None:
                self._refuse(404, "NAME_UNKNOWN", "This repository is not served.")
            elif match["kind"] == "manifests":
                self._send_manifest(repository.image(match["reference"]))
            elif match["kind"] == "blobs":
                self._send_blob(repository.blobs.get(match["reference"]))
            elif match["reference"] == "list":
                self._send_tags(match["name"], repository, path, query)
            else:
                self._refuse(404, "UNSUPPORTED", "There is nothing at this address.")

    do_HEAD = do_GET

    def _refuse_write(self) -> None:
        # The body stays unread.
        self.close_connection = True
        self._refuse(405, "UNSUPPORTED", "This registry is read-only.", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse_write

    def _send_tags(
        self, name: str, repository: ServedRepository, path: str, query: str
    ) -> None:
        self._send_list("tags", {"name": name}, list(repository.tags), path, query)

    def _send_list(
        self, key: str, document: dict[str, Any], items: list[str], path: str, query: str
    ) -> None:
        """Sends a list, or a page of it (distribution specification, listing tags)."""
        values = parse_qs(query, max_num_fields=10) if query.count("&") < 10 else {}
        last = values.get("last", [""])[0]
        wanted = values.get("n", [""])[0]
        items = sorted(item for item in items if item > last)
        headers = {}
        if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < len(items):
            items = items[: int(wanted)]
            if items:
                headers["Link"] = f'<{path}?n={wanted}&last={items[-1]}>; rel="next"'
        self._send_json({**document, key: items}, headers=headers)

    def _send_manifest(self, image: Optional[Image]) -> None:
        if image is None:
            self._refuse(404, "MANIFEST_UNKNOWN", "There is no such image in this repository.")
            return
        headers = {"Docker-Content-Digest": image.digest, "ETag": f'"{image.digest}"'}
        self._send(200, image.manifest, MEDIA_TYPE_MANIFEST, headers)

    def _send_blob(self, blob: Optional[Blob]) -> None:
        if blob is None:
            self._refuse(404, "BLOB_UNKNOWN", "There is no such blob in this repository.")
            return
        headers = {
            "Docker-Content-Digest": blob.digest,
            "ETag": f'"{blob.digest}"',
            "Accept-Ranges": "bytes",
        }
        wanted = self.headers.get("Range")
        if self.headers.get("If-Range", headers["ETag"]) != headers["ETag"]:
            wanted = None
        try:
            part = parse_range(wanted, blob.size)
        except UnsatisfiableRangeError:
            headers["Content-Range"] = f"bytes */{blob.size}"
            self._refuse(416, "RANGE_INVALID", "The blob ends before this range.", headers)
            return
        status = 200
        if part is None:
            part = ByteRange(0, blob.size)
        else:
            status = 206
            headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{blob.size}"
        headers["Content-Type"] = "application/octet-stream"
        headers["Content-Length"] = str(part.size)
        if self.command == "HEAD":
            self._begin(status, headers)
        else:
            self._stream(blob, part, status, headers)
        self.log_request(status, part.size if self.command == "GET" else 0)

    def _stream(self, blob: Blob, part: ByteRange, status: int, headers: Mapping[str, str]) -> None:
        """Sends a part of a blob. What is not right is never sent to its end."""

        def write(piece: memoryview) -> None:
            # Not earlier: what fails before its first byte can still be told to the client.
            if not self._begun:
                self._begin(status, headers)
            self._send_bytes(piece)

        sink = RangeSink(part, write)
        try:
            blob.stream(sink.write)
            sink.finish()
        except _ClientGoneError:
            self.log_message("%s was broken off by the client", _brief(blob.digest))
            raise
        except (NixOciError, OSError) as error:
            if not isinstance(error, NixOciError):
                error = StreamFailedError(blob.digest, error.strerror or str(error))
            self.server.failed(error)
            self.log_message("%s cannot be streamed: %s", _brief(blob.digest), error)
            # If it has begun, the client notices by the bytes that are missing.
            if not self._begun:
                self._refuse(500, "UNKNOWN", str(error))
            raise _ClientGoneError from None

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Sends status line and headers."""
        self.send_response_only(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self._begun = True
        self.end_headers()

    def flush_headers(self) -> None:
        """Sends the headers that `end_headers` has completed."""
        self._send_bytes(b"".join(self._headers_buffer))
        self._headers_buffer = []

    def _send(
        self, status: int, content: bytes, media_type: str, headers: Mapping[str, str]
    ) -> None:
        self._begin(
            status, {**headers, "Content-Type": media_type, "Content-Length": str(len(content))}
        )
        size = 0 if self.command == "HEAD" else len(content)
        if size:
            self._send_bytes(content)
        self.log_request(status, size)

    def _send_json(
        self, document: object, status: int = 200, headers: Optional[Mapping[str, str]] = None
    ) -> None:
        self._send(status, json.dumps(document).encode(), "application/json", headers or {})

    def _refuse(
        self, status: int, code: str, message: str, headers: Optional[Mapping[str, str]] = None
    ) -> None:
        """Sends an error in the form of the distribution specification ("Error Codes")."""
        self._send_json({"errors": [{"code": code, "message": message}]}, status, headers)

    def send_error(
        self, code: int, message: Optional[str] = None, explain: Optional[str] = None
    ) -> None:
        """Answers what is no proper request; the connection ends then."""
        self.close_connection = True
        # What method a request that does not parse has is not known.
        self.command = self.command or "GET"
        self._refuse(int(code), "UNSUPPORTED", message or "This is not a valid request.")

    def _send_bytes(self, data: object) -> None:
        try:
            self.connection.settimeout(SEND_TIMEOUT)
            self.connection.sendall(data)  # type: ignore[arg-type]
        except OSError:
            raise _ClientGoneError from None

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Logs one line: method, path, status and bytes of the body."""
        self.log_message("%s %s %s", self.requestline.partition(" HTTP/")[0] or "-", code, size)

    def log_message(self, format: str, *values: object) -> None:
        """Logs one line, in which nothing that clients sent can break lines or colour terminals."""
        self.server.log(printable(format % values, longest=2000))


def _brief(digest: str) -> str:
    return digest[:19]
