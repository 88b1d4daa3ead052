"""buildbox-casd as a remote execution server for Pants, whose workers see what a test gives them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping

from tests.integration.support.interpreters import interpreter
from tests.integration.support.nix import Nix
from tests.integration.support.process import daemon, run
from tests.integration.support.reapi import buildbox_directory
from tests.integration.support.remote_cache import cache_options
from tests.integration.support.tools import tool


class RemoteExecutionNotReadyError(Exception):
    """buildbox-casd ended or did not answer; the message has its log."""

    def __init__(self, log: Path) -> None:
        super().__init__(f"buildbox-casd did not start:\n{log.read_text(errors='replace')}")


@dataclass(frozen=True)
class RemoteExecution:
    """A running server with workers, which is a remote cache too.

    :param address: for `remote_store_address` and `remote_execution_address`.
    """

    address: str

    @property
    def options(self) -> tuple[str, ...]:
        """Options with which Pants has processes executed there."""
        return (
            "--remote-execution",
            f"--remote-execution-address={self.address}",
            *cache_options(self.address),
        )


def plain_worker() -> Mapping[str, str]:
    """Returns what a worker without Nix sees, by the place where it sees it: a shell and a Python."""
    return {
        **_real_paths("/lib", "/lib64", "/usr/lib", "/bin/sh"),
        **_python(),
    }


def nix_worker(nix: Nix, directory: Path) -> Mapping[str, str]:
    """Returns what a worker sees that has Debian's Nix, with `directory` as its /nix."""
    directory.mkdir(parents=True, exist_ok=True)
    return {
        **_real_paths("/lib", "/lib64", "/usr", "/bin"),
        **_python(),
        "/etc/nix": str(nix.configuration_directory),
        "/nix": str(directory),
    }


def _real_paths(*paths: str) -> Mapping[str, str]:
    return {path: os.path.realpath(path) for path in paths}


def _python() -> Mapping[str, str]:
    """A Python in PATH, which is also where it looks for its library."""
    say = "import sys; print(sys.base_prefix)"
    prefix = run([interpreter("3.12"), "-I", "-c", say]).stdout.strip()
    return {"/usr/local": prefix, prefix: prefix}


@contextlib.contextmanager
def remote_execution(directory: Path, worker: Mapping[str, str]) -> Iterator[RemoteExecution]:
    """Starts an empty server with workers that ends with the `with` block.

    :param directory: gets its storage and log.
    :param worker: files and directories of this machine, by where a worker has them.
    :raises RemoteExecutionNotReadyError: it did not listen within 60 seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The workers' sandboxes are made by it.
    tool("bwrap")
    programs = buildbox_directory()
    log = directory / "log of casd"
    port = _free_port()
    command = [
        programs / "buildbox-casd",
        f"--bind=127.0.0.1:{port}",
        "--server-instance=main",
        "--jobs=2",
        f"--buildbox-run={programs / 'buildbox-run'}",
        *(f"--runner-arg=--bind-mount={here}:{there}" for there, here in worker.items()),
        directory / "storage",
    ]
    # The programs find their helpers in PATH.
    environment = {**os.environ, "PATH": os.pathsep.join([str(programs), os.environ["PATH"]])}
    with daemon(command, log, env=environment) as server:
        deadline = time.monotonic() + 60
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RemoteExecutionNotReadyError(log)
            time.sleep(0.05)
        yield RemoteExecution(f"grpc://127.0.0.1:{port}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
