"""Where Nix fetches inputs from: HTTP servers that ask for credentials or not, and git over ssh."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator, Mapping

from tests.integration.support.process import daemon, run
from tests.integration.support.tools import tool

_IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.com")


@dataclass(frozen=True)
class FileServer:
    """:param url: of the directory that is served.
    :param requests: the paths that have been asked for, each with the status of the answer.
    """

    url: str
    requests: list[tuple[str, int]]

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]


@contextlib.contextmanager
def file_server(
    directory: Path, authorization: str = "", certificate: Path | None = None
) -> Iterator[FileServer]:
    """Serves a directory on this machine until the `with` block ends.

    :param authorization: value of the header without which nothing is to be had.
    :param certificate: it speaks HTTPS with this one; the key is in `key.pem` beside it.
    """
    requests: list[tuple[str, int]] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def send_head(self) -> Any:
            if authorization and self.headers.get("Authorization") != authorization:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            return super().send_head()

        def log_request(self, code: Any = 0, size: Any = 0) -> None:
            requests.append((self.path, int(code)))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_name("key.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    scheme = "http" if certificate is None else "https"
    try:
        yield FileServer(f"{scheme}://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def basic(user: str, password: str) -> str:
    """Returns the header `Authorization` of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def write_tarball(path: Path, files: Mapping[str, str]) -> None:
    """Writes an archive with these files (text by name) in a directory `tree`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        top = tarfile.TarInfo("tree")
        # What Nix calls the time of the last modification of an input.
        top.type, top.mode, top.mtime = tarfile.DIRTYPE, 0o755, 1
        archive.addfile(top)
        for name, text in files.items():
            member = tarfile.TarInfo(f"tree/{name}")
            member.mtime = 1
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def write_repository(directory: Path, files: Mapping[str, str]) -> str:
    """Makes a bare git repository with one commit, which dumb HTTP servers can serve too; returns the commit."""
    work = directory.with_name(f"{directory.name}-work")
    for name, text in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    for arguments in (
        ("init", "--quiet", "--initial-branch=main", work),
        ("-C", work, "add", "."),
        (*_IDENTITY, "-C", work, "commit", "--quiet", "--message=one"),
        ("clone", "--quiet", "--bare", work, directory),
        ("-C", directory, "config", "uploadpack.allowAnySHA1InWant", "true"),
        ("-C", directory, "update-server-info"),
    ):
        run(["git", *arguments])
    return run(["git", "-C", directory, "rev-parse", "HEAD"]).stdout.strip()


@dataclass(frozen=True)
class SshServer:
    """:param user: who may log in, with `key`, on `port` of this machine.
    :param log: what the server has said.
    """

    port: int
    user: str
    key: Path
    log: Path

    @property
    def command(self) -> str:
        """What `GIT_SSH_COMMAND` may be, where an agent has the key."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
        return " ".join([tool("ssh"), "-F none", *(f"-o {option}" for option in options)])


@contextlib.contextmanager
def ssh_server(directory: Path) -> Iterator[SshServer]:
    """An sshd of the user who runs the test, on a free port, until the `with` block ends."""
    directory.mkdir()
    for name in ("host", "user"):
        run([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", directory / name])
    if os.geteuid() == 0:
        # Where Debian's sshd has to have an empty directory if it runs as root.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = directory / "log"
    (directory / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/user.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        "PasswordAuthentication no\nLogLevel VERBOSE\n"
    )
    with daemon([tool("sshd"), "-D", "-e", "-f", directory / "config"], log) as process:
        deadline = time.monotonic() + 30
        while "Server listening" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start:\n{log.read_text()}")
            time.sleep(0.05)
        user = run(["id", "-un"]).stdout.strip()
        yield SshServer(port, user, directory / "user", log)


@contextlib.contextmanager
def ssh_agent(directory: Path, key: Path) -> Iterator[Path]:
    """An agent that has a key; gives its socket, the value of `SSH_AUTH_SOCK`."""
    place = directory / "agent"
    with daemon([tool("ssh-agent"), "-D", "-a", place], directory / "agent-log"):
        deadline = time.monotonic() + 30
        while not place.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        subprocess.run(
            [tool("ssh-add"), "-q", key], env={**os.environ, "SSH_AUTH_SOCK": str(place)}, check=True
        )
        yield place
