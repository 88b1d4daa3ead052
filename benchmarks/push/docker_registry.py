"""A docker-registry on this machine, for benchmarks."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

#: The registry prints the port that the kernel gave it.
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:[0-9]+)")
_ACCESS = re.compile(r'"[A-Z]+ \S+ HTTP/[0-9.]+" [0-9]{3} ')
_START_SECONDS = 20


@dataclass(frozen=True)
class DockerRegistry:
    """:param host: its address."""

    host: str
    log: Path

    def requests(self) -> int:
        """Returns how many requests it has answered, if it logs them."""
        # A client may have its answer a moment before the line is written.
        time.sleep(0.2)
        return len(_ACCESS.findall(self.log.read_text(errors="replace")))


@contextlib.contextmanager
def docker_registry(directory: Path, *, logs_requests: bool = False) -> Iterator[DockerRegistry]:
    """Runs an empty registry while the body runs.

    :param directory: gets a directory with its storage and log, which is removed at the end.
    """
    storage = Path(tempfile.mkdtemp(dir=directory))
    log = storage / "log"
    configuration = storage / "config.yml"
    configuration.write_text(_configuration(storage, logs_requests))
    with log.open("wb") as output, subprocess.Popen(
        ["docker-registry", "serve", str(configuration)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    ) as process:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not (found := _LISTENING.search(log.read_text())):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"docker-registry did not start:\n{log.read_text()}")
                time.sleep(0.02)
            yield DockerRegistry(found[1], log)
        finally:
            process.terminate()
    shutil.rmtree(storage)


def _configuration(storage: Path, logs_requests: bool) -> str:
    """JSON is YAML too."""
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": not logs_requests}},
            "storage": {"filesystem": {"rootdirectory": str(storage / "data")}},
            "http": {"addr": "127.0.0.1:0"},
        }
    )
