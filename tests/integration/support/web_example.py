"""Examples of web services, with Debian's Python in place of that of nixpkgs; they run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Iterator, Sequence, Union
from urllib.request import ProxyHandler, build_opener

from tests.integration.support.closures import materialize_debian_closure
from tests.integration.support.engines import Docker, Podman
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.tools import tool

EXAMPLES = Path(__file__).parents[3] / "examples"

#: What is different in BUILD.
_CHANGES = (
    ('source="flake.nix"', 'source="default.nix"'),
    ('"flake.lock"', '"debian/**"'),
)

#: And in that of `examples/service`: the loader of Debian's glibc does not look where it is itself.
_SERVICE_CHANGES = (
    ("==3.12.*", "==3.11.*"),
    ("{stdcxx}/lib", "{stdcxx}/lib:{glibc}/lib"),
    ('packages=[":python", ":stdcxx"]', 'packages=[":python", ":stdcxx", ":glibc"]'),
    (
        "nix_layer(",
        'nix_package(name="glibc", source="default.nix", attr="glibc", dependencies=[":nix"])\n\nnix_layer(',
    ),
)


class ServiceFailedError(Exception):
    """The service of a container ended before it listened; the message has what it said."""


def write_web_example(repository: Monorepo) -> Path:
    """Writes `examples/web` to where it is in this repository, too, and returns the directory."""
    return _write_example(repository, "web", _CHANGES)


def write_service_example(repository: Monorepo) -> Path:
    """Likewise `examples/service`, for Python 3.11, which Debian has."""
    return _write_example(repository, "service", (*_CHANGES, *_SERVICE_CHANGES))


def _write_example(
    repository: Monorepo, name: str, changes: Sequence[tuple[str, str]]
) -> Path:
    example = EXAMPLES / name
    directory = repository.root / "examples" / name
    directory.mkdir(parents=True)
    for source in (*example.glob("*.py"), *example.glob("requirements.*")):
        shutil.copyfile(source, directory / source.name)
    (directory / "default.nix").write_text("import ./debian\n")
    materialize_debian_closure(directory / "debian")
    targets = (example / "BUILD").read_text()
    for old, new in changes:
        assert old in targets
        targets = targets.replace(old, new)
    (directory / "BUILD").write_text(targets)
    return directory


@contextlib.contextmanager
def running_service(engine: Union[Docker, Podman], image: str, log: Path) -> Iterator[str]:
    """Runs the service in a container with the network of this machine; gives its address.

    At the end of the `with` block the service gets SIGTERM, at which it must end within 20 seconds.

    :param image: what the engine can run, or get.
    :param log: gets what the engine says.
    :raises ServiceFailedError: see there.
    """
    # The engine's storage is removed by whoever made it, so containers need not be.
    options = ["--network=host", "--env=PORT=0"]
    if isinstance(engine, Podman):
        options.append("--tls-verify=false")
    with log.open("wb") as errors, subprocess.Popen(
        engine.command(tool(engine.name), "run", *options, image),
        env=engine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            listening = re.fullmatch("listening on port ([0-9]+)\n", line)
            if listening is None:
                raise ServiceFailedError(line + log.read_text(errors="replace"))
            yield f"http://127.0.0.1:{listening[1]}"
            os.kill(_engine_process(process.pid), signal.SIGTERM)
            process.wait(timeout=20)
        finally:
            process.kill()


def _engine_process(pid: int) -> int:
    """The process that hands signals on to the container: what podman's namespaces were made for."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    is_namespace = b"unshare" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return int(children[0]) if is_namespace else pid


def answer(address: str) -> str:
    """Returns what is at an address of this machine, whatever proxy the environment names."""
    with build_opener(ProxyHandler({})).open(address, timeout=20) as response:
        return str(response.read().decode())
