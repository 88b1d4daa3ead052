"""BuildGrid as a remote cache, on this machine, for as long as something is measured."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator

_LOCK = Path(__file__).resolve().parents[2] / "3rdparty" / "python" / "remote-cache.lock"

_START = "import sys; from buildgrid.server.app import cli; sys.exit(cli())"

_CONFIGURATION = """\
# Pants asks up to 128 things of a store and of a cache at the same time; what finds no thread is refused.
thread-pool-size: 300
description: Remote cache of a benchmark
server:
  - !channel
    address: 127.0.0.1:{port}
    insecure-mode: true
authorization:
  method: none
storages:
  - !disk-storage &cas
    path: {directory}/cas
caches:
  - !lru-action-cache &actions
    storage: *cas
    max-cached-refs: 100000
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


@contextlib.contextmanager
def remote_cache(directory: Path) -> Iterator[tuple[str, ...]]:
    """Starts an empty cache that ends with the `with` block; gives the options to use it.

    :param directory: gets its storage and its log.
    :raises RuntimeError: there is no Python 3.12, or the server does not answer within a minute.
    """
    python = _buildgrid_python()
    directory.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = directory / "server.yml"
    configuration.write_text(_CONFIGURATION.format(port=port, directory=directory))
    command = [python, "-I", "-c", _START, "server", "start", configuration]
    with (directory / "log").open("w") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(server, port, directory / "log")
        yield (
            "--remote-cache-read",
            "--remote-cache-write",
            f"--remote-store-address=grpc://127.0.0.1:{port}",
            "--remote-instance-name=main",
            # A slow machine is no dead server.
            "--remote-cache-rpc-timeout-millis=30000",
            # Results are written in the background, and the next run wants all of them.
            "--session-end-tasks-timeout=120",
        )
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The remote cache did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _buildgrid_python() -> Path:
    """Returns the Python of a virtualenv with BuildGrid, made once in the user's cache directory."""
    key = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pants-backend-nix"
    virtualenv = cache / f"benchmark-buildgrid-{key}"
    python = virtualenv / "bin" / "python"
    complete = virtualenv / "complete"
    if not complete.exists():
        shutil.rmtree(virtualenv, ignore_errors=True)
        print("Installing BuildGrid", file=sys.stderr)
        subprocess.run([_python_3_12(), "-I", "-m", "venv", virtualenv], check=True)
        install = ["install", "--quiet", "--require-hashes", "--no-deps", "--requirement", _LOCK]
        subprocess.run([python, "-I", "-m", "pip", *install], check=True)
        complete.touch()
    return python


def _python_3_12() -> str:
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for found in (
        shutil.which("python3.12"),
        *sorted(glob.glob(f"{root}/versions/3.12.*/bin/python3.12")),
    ):
        # A shim of pyenv may stand for a version that is not there.
        if found and not subprocess.run([found, "-c", ""], stderr=subprocess.DEVNULL).returncode:
            return found
    raise RuntimeError("BuildGrid needs Python 3.12, in PATH or in pyenv; `--no-remote` does without.")
