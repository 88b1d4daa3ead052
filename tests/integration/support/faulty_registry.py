"""A proxy in front of a real registry that makes its answers go wrong, and can demand tokens.

What no fault is for passes unchanged, so a push through it ends in the real registry or nowhere.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator, Mapping
from urllib.parse import parse_qs, urlsplit

from tests.integration.support.registry import PASSWORD, USER

#: Answers a request in its own way; returns whether the request goes on to the registry.
Act = Callable[["_Handler"], bool]


@dataclass
class Fault:
    """What happens to requests of a kind.

    :param method: regular expression that the whole method must match.
    :param path: regular expression that must be found in the path, which has the query.
    :param times: how many requests it happens to, then no more.
    """

    act: Act
    method: str = ".*"
    path: str = ""
    times: int = 1


@dataclass(frozen=True)
class ProxiedRequest:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class TokenGate:
    """Lets nobody in without a bearer token that its own `/token` gave out; GET is for pulling.

    :param uses: requests that each token is good for; then it is refused as if it had expired.
    :param lifetime: the seconds that the gate claims tokens to live; None if it says nothing.
    :param writable: regular expression of the repositories whose scope is granted.
    :param identity_token: where given, tokens are had for this alone, by OAuth2.
    :param refused_posts: the status of its answer to OAuth2, which it does not have.
    """

    uses: int = 1_000_000
    lifetime: int | None = 300
    writable: str = ".*"
    identity_token: str | None = None
    refused_posts: int | None = None
    #: What was asked of `/token`: the scopes, in order.
    scopes: list[list[str]] = field(default_factory=list)
    _left: dict[str, int] = field(default_factory=dict)
    _granted: dict[str, list[str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, handler: _Handler) -> bool:
        if urlsplit(handler.path).path == "/token":
            self._give_token(handler)
            return False
        token = handler.headers.get("Authorization", "").partition("Bearer ")[2]
        name = re.match(r"/v2/(.*)/(?:blobs|manifests)/", handler.path)
        actions = "pull" if handler.command == "GET" else "pull,push"
        needed = f"repository:{name[1] if name else ''}:{actions}"
        with self._lock:
            if self._left.get(token, 0) > 0 and needed in self._granted[token]:
                self._left[token] -= 1
                return True
        realm = f"http://{handler.headers['Host']}/token"
        challenge = f'Bearer realm="{realm}",service="tests, and more",scope="{needed}"'
        # The body of what is refused is not read, so nothing can follow it.
        handler.close_connection = "Content-Length" in handler.headers
        refusal = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        handler.reply(401, {"WWW-Authenticate": challenge}, refusal)
        return False

    def _give_token(self, handler: _Handler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        form = parse_qs(handler.rfile.read(length).decode())
        if self.refused_posts is not None and handler.command == "POST":
            handler.reply(self.refused_posts, {})
            return
        query = form or parse_qs(urlsplit(handler.path).query)
        if self.identity_token is None:
            account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            known = handler.headers.get("Authorization") == f"Basic {account}"
        else:
            known = form.get("refresh_token") == [self.identity_token]
        if not known or query.get("service") != ["tests, and more"]:
            handler.reply(401, {}, b'{"details":"incorrect username or password"}')
            return
        scopes = [scope for text in query.get("scope", []) for scope in text.split()]
        with self._lock:
            self.scopes.append(scopes)
            token = f"secret-token-{next(self._numbers)}"
            self._left[token] = self.uses
            self._granted[token] = [
                scope for scope in scopes if re.fullmatch(self.writable, scope.split(":")[1])
            ]
        document: dict[str, Any] = {"token": token}
        if self.lifetime is not None:
            document["expires_in"] = self.lifetime
        handler.reply(200, {"Content-Type": "application/json"}, json.dumps(document).encode())


@dataclass
class FaultyRegistry:
    """The running proxy.

    :param host: `127.0.0.1:<port>`, the first part of image references.
    :param faults: the first one that fits a request and is not used up happens to it.
    :param requests: all requests so far, in order.
    """

    host: str
    upstream: str
    faults: list[Fault] = field(default_factory=list)
    gate: TokenGate | None = None
    requests: list[ProxiedRequest] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, path: str = "") -> int:
        """Returns how many requests of a kind arrived."""
        return sum(
            bool(re.fullmatch(method, request.method) and re.search(path, request.path))
            for request in self.requests
        )

    def take_fault(self, method: str, path: str) -> Act | None:
        with self.lock:
            for fault in self.faults:
                fits = re.fullmatch(fault.method, method) and re.search(fault.path, path)
                if fits and fault.times:
                    fault.times -= 1
                    return fault.act
        return None


@contextlib.contextmanager
def faulty_registry(
    upstream: str, *faults: Fault, gate: TokenGate | None = None
) -> Iterator[FaultyRegistry]:
    """Starts a proxy before the registry at `upstream` (`host:port`, plain HTTP)."""
    server = _Server(("127.0.0.1", 0), _Handler)
    host = f"127.0.0.1:{server.server_address[1]}"
    running = server.registry = FaultyRegistry(host, upstream, list(faults), gate)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, headers: Mapping[str, str] = {}, body: bytes = b"") -> Act:
    """Answers with a status, before anything of a body was read."""

    def act(handler: _Handler) -> bool:
        handler.close_connection = True
        handler.reply(code, headers, body)
        return False

    return act


def cut(after: int) -> Act:
    """Reads some bytes of the body and cuts the connection as a crash would."""

    def act(handler: _Handler) -> bool:
        left = min(after, int(handler.headers.get("Content-Length", 0)))
        while left:
            left -= len(handler.rfile.read1(left)) or left
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.rfile.close()
        handler.connection.close()
        return False

    return act


def say(data: bytes) -> Act:
    """Sends these very bytes in place of an answer, after the whole request, and hangs up."""

    def act(handler: _Handler) -> bool:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        handler.connection.sendall(data)
        handler.close_connection = True
        return False

    return act


def swallow(handler: _Handler) -> bool:
    """Takes a body of any size, keeps nothing of it, and says that all is well."""
    left = int(handler.headers.get("Content-Length", 0))
    while left:
        left -= len(handler.rfile.read1(min(left, 1 << 18))) or left
    handler.reply(201, {})
    return False


def wait(seconds: float) -> Act:
    """Lets the request wait, and then go on."""

    def act(handler: _Handler) -> bool:
        time.sleep(seconds)
        return True

    return act


def cut_answer(after: int) -> Act:
    """Lets the registry answer, and cuts the connection in the midst of what it sends."""

    def act(handler: _Handler) -> bool:
        handler.change_body = lambda body: body[:after]
        handler.close_connection = True
        return True

    return act


def with_body(change: Callable[[bytes], bytes]) -> Act:
    """Lets the registry answer, with another body of the same length."""

    def act(handler: _Handler) -> bool:
        handler.change_body = change
        return True

    return act


def without_range(handler: _Handler) -> bool:
    """Lets the registry answer as one that sends blobs from their beginning only."""
    del handler.headers["Range"]
    return True


def with_header(name: str, value: str) -> Act:
    """Lets the registry answer, with another value of a header; without it if it is empty."""

    def act(handler: _Handler) -> bool:
        handler.changed_headers[name.lower()] = value
        return True

    return act


def with_location(change: Callable[[str], str]) -> Act:
    """Lets the registry answer, with another `Location`.

    :param change: makes it of what the registry has there, which is an absolute URL.
    """

    def act(handler: _Handler) -> bool:
        handler.change_location = change
        return True

    return act


def with_status(code: int) -> Act:
    """Lets the registry do what it is asked to; if it is well, it says so with another status."""

    def act(handler: _Handler) -> bool:
        handler.changed_status = code
        return True

    return act


def at_path(change: Callable[[str], str]) -> Act:
    """Lets the registry answer what was asked at another path."""

    def act(handler: _Handler) -> bool:
        handler.path = change(handler.path)
        return True

    return act


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Uploads and questions come many at once.
    request_queue_size = 64
    registry: FaultyRegistry

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        # A TLS hello has no line end that the base class could wait for.
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
            self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            self.close_connection = True
            return
        self.changed_headers: dict[str, str] = {}
        self.changed_status: int | None = None
        self.change_location: Callable[[str], str] | None = None
        self.change_body: Callable[[bytes], bytes] = lambda body: body
        super().handle_one_request()

    def _handle(self) -> None:
        registry = self.server.registry
        with registry.lock:
            registry.requests.append(ProxiedRequest(self.command, self.path, dict(self.headers)))
        if registry.gate is not None and not registry.gate.admit(self):
            return
        act = registry.take_fault(self.command, self.path)
        if act is None or act(self):
            self._forward(registry.upstream)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _forward(self, upstream: str) -> None:
        connection = http.client.HTTPConnection(upstream, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in ("authorization", "connection"):
                    connection.putheader(name, value)
            connection.endheaders()
            left = int(self.headers.get("Content-Length", 0))
            while left:
                data = self.rfile.read1(min(left, 1 << 16))
                if not data:
                    # The client hung up, and so do we.
                    self.close_connection = True
                    return
                left -= len(data)
                connection.send(data)
            answer = connection.getresponse()
            headers = dict(answer.getheaders())
            for name in [name for name in headers if name.lower() in self.changed_headers]:
                del headers[name]
            headers.update((name, value) for name, value in self.changed_headers.items() if value)
            if self.change_location is not None and "Location" in headers:
                headers["Location"] = self.change_location(headers["Location"])
            status = answer.status
            if self.changed_status is not None and status < 300:
                status = self.changed_status
            body = answer.read()
            # The length in an answer to HEAD is that of something else.
            length = headers.pop("Content-Length", None)
            self.reply(status, headers, body, length)

    def reply(
        self, code: int, headers: Mapping[str, str], body: bytes = b"", length: str | None = None
    ) -> None:
        self.send_response_only(code)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.change_body(body))

    def log_message(self, format: str, *arguments: Any) -> None:
        """The list of requests is the log."""
