"""Debian's docker-registry on a free loopback port, with its access log."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.integration.support.process import daemon, run
from tests.integration.support.tools import tool

#: The one account of a registry with authentication. The hash is bcrypt, the only kind that
#: docker-registry takes.
USER = "tester"
PASSWORD = "open sesame"
_HTPASSWD = f"{USER}:$2b$04$GpyK7btz9WB2m8ibrDoUseWro9ldHKhoq65yfy1yYB0cF4CUWNegK\n"

#: How this module's own requests call themselves in the log.
_OWN_AGENT = "pants-backend-nix-tests"

_LISTENING = re.compile(r"listening on (?P<host>127\.0\.0\.1:[0-9]+)")
_ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[0-9.]+" (?P<status>[0-9]{3}) ')


class RegistryNotReadyError(Exception):
    """docker-registry ended or did not answer; the message has its log."""

    def __init__(self, log: Path) -> None:
        super().__init__(f"docker-registry did not start:\n{log.read_text(errors='replace')}")


@dataclass(frozen=True)
class LoggedRequest:
    """One line of the access log."""

    method: str
    #: With the query, such as `/v2/name/blobs/uploads/?mount=…`.
    path: str
    status: int


@dataclass(frozen=True)
class Registry:
    """A running registry.

    :param host: `127.0.0.1:<port>`, the first part of image references.
    :param log: everything that it printed; `requests` reads it.
    :param certificate: PEM file of the certificate authority to trust; None when it speaks HTTP.
    """

    host: str
    log: Path
    certificate: Path | None = None

    def requests(self, method: str = ".*", path: str = ".*") -> list[LoggedRequest]:
        """Returns the requests that were answered so far, in order, without those of the test.

        :param method: regular expression that the whole method must match.
        :param path: regular expression that must be found in the path.
        """
        self._await_log()
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            hit = _ACCESS.search(line)
            if hit is None or _OWN_AGENT in line:
                continue
            if re.fullmatch(method, hit["method"]) and re.search(path, hit["path"]):
                found.append(LoggedRequest(hit["method"], hit["path"], int(hit["status"])))
        return found

    def _await_log(self) -> None:
        # A client may have its answer a moment before the registry logs it. Once the line of a
        # request that was sent later is there, those of the earlier ones are there as well.
        marker = f"{_OWN_AGENT}/{time.monotonic_ns()}"
        deadline = time.monotonic() + 10
        while not _answers(self, marker) or marker not in self.log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise RegistryNotReadyError(self.log)
            time.sleep(0.02)

    def write_docker_config(self, directory: Path) -> Path:
        """Writes a `config.json` with the account of this registry, as `docker login` does.

        Returns the file; `directory` is the value for DOCKER_CONFIG.
        """
        directory.mkdir(parents=True, exist_ok=True)
        account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        target = directory / "config.json"
        target.write_text(json.dumps({"auths": {self.host: {"auth": account}}}))
        return target


@contextlib.contextmanager
def registry(directory: Path, *, tls_and_auth: bool = False) -> Iterator[Registry]:
    """Starts an empty registry that ends with the `with` block.

    :param directory: gets its storage, configuration, certificate and log.
    :param tls_and_auth: it speaks HTTPS with a certificate of its own for 127.0.0.1, and lets
        nobody in but `USER` with `PASSWORD`.
    :raises RegistryNotReadyError: it did not answer within 20 seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(directory) if tls_and_auth else None
    configuration = directory / "config.yml"
    configuration.write_text(json.dumps(_configuration(directory, certificate)))
    log = directory / "log"
    log.touch()
    with daemon([tool("docker-registry"), "serve", configuration], log) as process:
        deadline = time.monotonic() + 20
        while True:
            listening = _LISTENING.search(log.read_text(errors="replace"))
            if listening is not None:
                running = Registry(listening["host"], log, certificate)
                if _answers(running, _OWN_AGENT):
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RegistryNotReadyError(log)
            time.sleep(0.05)
        yield running


def _configuration(directory: Path, certificate: Path | None) -> dict[str, object]:
    """The configuration; JSON is YAML too."""
    # The kernel chooses a free port, which the registry then logs: no race for a port.
    http: dict[str, object] = {"addr": "127.0.0.1:0"}
    configuration: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "storage")},
            "delete": {"enabled": True},
        },
        "http": http,
    }
    if certificate is not None:
        accounts = directory / "htpasswd"
        accounts.write_text(_HTPASSWD)
        http["tls"] = {"certificate": str(certificate), "key": str(directory / "key.pem")}
        configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(accounts)}}
    return configuration


def make_certificate(directory: Path) -> Path:
    """Writes a certificate for 127.0.0.1, which it returns, and beside it `key.pem`."""
    certificate = directory / "certificate.pem"
    run(
        [
            tool("openssl"),
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", directory / "key.pem", "-out", certificate),
        ]
    )
    return certificate


def _answers(running: Registry, agent: str) -> bool:
    secure = running.certificate is not None
    context = ssl.create_default_context(cafile=str(running.certificate)) if secure else None
    account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"User-Agent": agent, "Authorization": f"Basic {account}"}
    address = f"{'https' if secure else 'http'}://{running.host}/v2/"
    try:
        with urlopen(Request(address, headers=headers), context=context, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False
