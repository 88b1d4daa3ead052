"""BuildGrid as a remote cache for Pants, with a proxy before it that sees who asks for what."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from tests.integration.support.process import daemon
from tests.integration.support.reapi import buildgrid_python

#: The one instance that the server has.
INSTANCE = "main"

_START = "import sys; from buildgrid.server.app import cli; sys.exit(cli())"
_PROXY = Path(__file__).parent / "reapi_proxy.py"


class RemoteCacheNotReadyError(Exception):
    """BuildGrid or its proxy ended or did not answer; the message has their log."""

    def __init__(self, log: Path) -> None:
        super().__init__(f"The remote cache did not start:\n{log.read_text(errors='replace')}")


@dataclass(frozen=True)
class RemoteCache:
    """A running cache.

    :param address: for `remote_store_address`.
    :param directory: holds what was written to it: `cas`, and the files of `reapi_proxy`.
    """

    address: str
    directory: Path

    @property
    def options(self) -> tuple[str, ...]:
        """Options with which Pants reads from this cache and writes to it."""
        return cache_options(self.address)

    @property
    def written(self) -> dict[str, None]:
        """Digests of the actions whose results were written, in the order of writing."""
        return self._actions("update")

    @property
    def read(self) -> dict[str, None]:
        """Digests of the actions whose results were found, in the order of asking."""
        return self._actions("get")

    @property
    def size(self) -> int:
        """Bytes of all blobs that were written."""
        return sum(p.stat().st_size for p in (self.directory / "cas").rglob("*") if p.is_file())

    def forget_log(self) -> None:
        """What was read and written so far counts no more."""
        # The proxy appends, so the next line is the first one.
        (self.directory / "log").write_text("")

    @contextlib.contextmanager
    def hiding(self, *actions: str) -> Iterator[None]:
        """Nobody finds the results of `actions` within the `with` block."""
        hidden = self.directory / "hidden"
        hidden.write_text("\n".join(actions))
        try:
            yield
        finally:
            hidden.write_text("")

    @contextlib.contextmanager
    def losing(self, *blobs: bytes) -> Iterator[None]:
        """The store has not got `blobs` within the `with` block, though results name them."""
        lost = self.directory / "lost"
        lost.write_text("\n".join(hashlib.sha256(blob).hexdigest() for blob in blobs))
        try:
            yield
        finally:
            lost.write_text("")

    @property
    def blobs_read(self) -> dict[str, None]:
        """Digests of the blobs that were read, in the order of asking."""
        return self._actions("read")

    def blobs(self) -> Iterator[bytes]:
        """Yields the contents of all blobs that were written."""
        for path in (self.directory / "cas").rglob("*"):
            if path.is_file():
                yield path.read_bytes()

    def _actions(self, what: str) -> dict[str, None]:
        lines = [line.split() for line in (self.directory / "log").read_text().splitlines()]
        return dict.fromkeys(line[1] for line in lines if (line[0], line[2]) == (what, "OK"))


def cache_options(address: str, instance: str = INSTANCE) -> tuple[str, ...]:
    """Returns the options for a cache at `address`, a URL of the scheme `grpc`."""
    return (
        "--remote-cache-read",
        "--remote-cache-write",
        f"--remote-store-address={address}",
        f"--remote-instance-name={instance}",
        # A slow machine is no dead server.
        "--remote-cache-rpc-timeout-millis=30000",
        # Results are written in the background; the test wants to find them.
        "--session-end-tasks-timeout=60",
    )


@contextlib.contextmanager
def remote_cache(directory: Path) -> Iterator[RemoteCache]:
    """Starts an empty cache that ends with the `with` block.

    :param directory: gets its storage, configuration and logs.
    :raises RemoteCacheNotReadyError: it did not listen within 60 seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    python = buildgrid_python()
    log = directory / "log of the servers"
    # Sockets have short paths, and need no search for a free port.
    with tempfile.TemporaryDirectory() as sockets:
        address = f"unix:{sockets}/buildgrid"
        configuration = directory / "server.yml"
        cas = json.dumps(str(directory / "cas"))
        configuration.write_text(_CONFIGURATION.format(address=address, cas=cas))
        server = [python, "-I", "-c", _START, "server", "start", configuration]
        with daemon(server, log), daemon([python, "-I", _PROXY, address, directory], log) as proxy:
            deadline = time.monotonic() + 60
            while not (directory / "port").exists():
                if proxy.poll() is not None or time.monotonic() > deadline:
                    raise RemoteCacheNotReadyError(log)
                time.sleep(0.05)
            yield RemoteCache(f"grpc://127.0.0.1:{(directory / 'port').read_text()}", directory)


_CONFIGURATION = """\
# Pants asks up to 128 things of a store and of a cache at the same time; what finds no thread is refused.
thread-pool-size: 300
description: Remote cache of a test
server:
  - !channel
    address: {address}
    insecure-mode: true
authorization:
  method: none
storages:
  - !disk-storage &cas
    path: {cas}
caches:
  - !lru-action-cache &actions
    storage: *cas
    max-cached-refs: 10000
    allow-updates: true
instances:
  - name: main
    services:
      - !cas
        storage: *cas
      - !bytestream
        storage: *cas
      - !action-cache
        cache: *actions
"""
