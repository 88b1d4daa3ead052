"""Everything that runs a container here: bubblewrap, podman, a throwaway dockerd; and skopeo.

All of it needs root. Mounts are made in namespaces of their own and go away with the process, so
a killed test leaves neither mounts nor processes behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Iterator, Sequence

from tests.integration.support.process import daemon, dies_with_parent, run
from tests.integration.support.tools import tool

#: Works on machines with little: a container needs no network, and asks for no more open files and
#: processes than whoever starts it may have.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

#: For podman. Version 5 warns of old cgroups, which is true of some machines that run the tests.
_ENVIRONMENT = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "true"}


class EngineNotReadyError(Exception):
    """A daemon ended, or did not answer in time; the message has the end of its log."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        text = log.read_text(errors="replace")[-4000:]
        super().__init__(f"{name} did not start:\n{text}")


def umoci_unpack(layout: Path, tag: str, directory: Path) -> Path:
    """Unpacks an image of an OCI layout with umoci into `directory`, which must not exist yet.

    Returns the root file system, `directory`/rootfs.

    :raises CommandFailedError: umoci refused the image.
    """
    run([tool("umoci"), "unpack", "--image", f"{layout}:{tag}", directory])
    return directory / "rootfs"


def copy_to_root_file_system(paths: Sequence[str], directory: Path) -> Path:
    """Copies store paths (of a closure that the caller knows) to `directory`/nix/store.

    Returns `directory`, a root file system that holds nothing else.
    """
    store = directory / "nix" / "store"
    store.mkdir(parents=True)
    run(["cp", "--archive", "--target-directory", store, *paths])
    return directory


def run_in_bwrap(
    root_file_system: Path,
    argv: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    writable: bool = False,
    check: bool = True,
) -> CompletedProcess[str]:
    """Runs a program in a root file system with bubblewrap: the quickest check that an image works.

    There is nothing beside the root file system: no network, no processes, /dev, /proc and /tmp
    only if the root file system has these directories.

    :param env: the whole environment; empty by default.
    :raises CommandFailedError: the program failed, and `check` is true.
    """
    words = [tool("bwrap"), "--bind" if writable else "--ro-bind", root_file_system, "/"]
    words += ["--unshare-all", "--die-with-parent"]
    for option, place in (("--proc", "proc"), ("--dev", "dev"), ("--tmpfs", "tmp")):
        if (root_file_system / place).is_dir():
            words += [option, f"/{place}"]
    return run([*words, *argv], env=env or {}, check=check)


def podman_run(
    image: str,
    argv: Sequence[str] = (),
    *,
    options: Sequence[str] = (),
    check: bool = True,
    timeout: float = 300,
) -> CompletedProcess[str]:
    """Runs `podman run` on an image reference with an empty storage that is removed afterwards.

    :param image: what podman can pull, such as `oci:/layout:tag`, `oci-archive:/file` or
        `docker://127.0.0.1:5000/name:tag`.
    :param argv: what follows the image: the command.
    :param options: options of `podman run`, such as `--tls-verify=false` or `--env=A=b`.
    :raises CommandFailedError: the container failed, and `check` is true.
    """
    with _short_directory("podman") as directory:
        (directory / "containers.conf").write_text(CONTAINERS_CONF)
        command: list[str | Path] = [
            tool("podman"),
            *("--root", directory / "root"),
            *("--runroot", directory / "run"),
            *("--tmpdir", directory / "tmp"),
            *("run", "--rm", "--quiet", *options, image, *argv),
        ]
        environment = {
            **os.environ,
            **_ENVIRONMENT,
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "TMPDIR": str(directory),
        }
        return run(_contained(command), env=environment, check=check, timeout=timeout)


@dataclass(frozen=True)
class Podman:
    """A podman with storage of its own, which later commands find as earlier ones left it.

    :param directory: holds its storage and configuration.
    """

    directory: Path
    name: str = "podman"

    def environment(self) -> dict[str, str]:
        """This process's environment, in which every podman uses this storage."""
        return {
            **os.environ,
            **_ENVIRONMENT,
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            "TMPDIR": str(self.directory),
        }

    def command(self, *argv: str | Path) -> list[str]:
        """Returns `argv` so wrapped that no mount or process that podman makes survives it."""
        return _contained(argv)

    def run(self, *arguments: str | Path, check: bool = True) -> CompletedProcess[str]:
        """Runs podman: `podman.run("images", "--quiet")`.

        :raises CommandFailedError: it failed, and `check` is true.
        """
        command = self.command(tool("podman"), *arguments)
        return run(command, env=self.environment(), check=check)


@contextlib.contextmanager
def podman() -> Iterator[Podman]:
    """A podman with empty storage, which is removed at the end of the `with` block."""
    with _short_directory("podman") as directory:
        # Without a daemon, one storage for several commands takes a configuration file.
        (directory / "storage.conf").write_text(
            "[storage]\n"
            'driver = "overlay"\n'
            f'graphroot = "{directory}/root"\n'
            f'runroot = "{directory}/run"\n'
        )
        (directory / "containers.conf").write_text(
            f'{CONTAINERS_CONF}tmp_dir = "{directory}/tmp"\nstatic_dir = "{directory}/root/libpod"\n'
        )
        yield Podman(directory)


def skopeo(*arguments: str | Path, check: bool = True) -> CompletedProcess[str]:
    """Runs skopeo with an empty cache of what registries have.

    skopeo's cache is one file of the machine (/var/lib/containers/cache); with it, a push would
    depend on pushes of other tests.

    :raises CommandFailedError: skopeo failed, and `check` is true.
    """
    # The mount point must exist outside the namespace.
    Path("/var/lib/containers").mkdir(parents=True, exist_ok=True)
    script = 'mount -t tmpfs none /var/lib/containers && exec "$@"'
    command = ["/bin/sh", "-c", script, "sh", tool("skopeo"), *arguments]
    return run(_contained(command), check=check)


@dataclass(frozen=True)
class Docker:
    """A running dockerd and its client.

    :param host: value of DOCKER_HOST.
    """

    host: str
    name: str = "docker"

    def environment(self) -> dict[str, str]:
        """This process's environment, with DOCKER_HOST for this daemon."""
        return {**os.environ, "DOCKER_HOST": self.host}

    def command(self, *argv: str | Path) -> list[str]:
        """Returns `argv`: the daemon is what needs namespaces, and has them."""
        return dies_with_parent(argv)

    def run(self, *arguments: str | Path, check: bool = True) -> CompletedProcess[str]:
        """Runs the docker client: `docker.run("pull", "127.0.0.1:5000/name")`.

        :raises CommandFailedError: it failed, and `check` is true.
        """
        return run([tool("docker"), *arguments], env=self.environment(), check=check)

    def load(self, archive: Path) -> str:
        """Loads a docker-archive and returns the reference (or ID) of the image in it."""
        output = self.run("load", "--quiet", "--input", archive).stdout
        return output.strip().splitlines()[-1].split(": ", 1)[1]

    def run_image(self, image: str, *argv: str, check: bool = True) -> CompletedProcess[str]:
        """Runs a container of an image that the daemon has, without network, and removes it.

        :raises CommandFailedError: the container failed, and `check` is true.
        """
        return self.run("run", "--rm", "--pull=never", "--network=none", image, *argv, check=check)


@contextlib.contextmanager
def dockerd(*, own_loopback: bool = False) -> Iterator[Docker]:
    """Starts a dockerd with empty storage, on a unix socket, that ends with the `with` block.

    It has no network but speaks plain HTTP to registries on the loopback interface.

    :param own_loopback: it does not reach that of this machine, like a dockerd in a virtual machine
        or on another host.
    :raises EngineNotReadyError: it did not answer within 30 seconds.
    """
    with _short_directory("docker") as directory:
        docker = Docker(f"unix://{directory}/sock")
        command: list[str | Path] = [
            tool("dockerd"),
            *("--host", docker.host),
            *("--data-root", directory / "data"),
            *("--exec-root", directory / "exec"),
            *("--pidfile", directory / "pid"),
            *("--config-file", directory / "daemon.json"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs"),
            *("--insecure-registry", "127.0.0.0/8"),
            "--bridge=none",
            "--iptables=false",
            "--ip-masq=false",
        ]
        (directory / "daemon.json").write_text("{}")
        # Mounts of the daemon stay in a namespace of its own. `unshare` replaces itself by it.
        namespace = ["unshare", "--mount", "--propagation", "private"]
        namespace += ["--net", "--"] if own_loopback else ["--"]
        log = directory / "log"
        with daemon([*namespace, *command], log) as process:
            deadline = time.monotonic() + 30
            while docker.run("version", check=False).returncode != 0:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise EngineNotReadyError("dockerd", log)
                time.sleep(0.1)
            yield docker


def _contained(command: Sequence[str | Path]) -> list[str]:
    """`command` in namespaces for mounts and processes, so that nothing survives it."""
    namespace = ["unshare", "--mount", "--propagation", "private"]
    namespace += ["--pid", "--fork", "--kill-child", "--mount-proc"]
    return dies_with_parent([*namespace, *command])


@contextlib.contextmanager
def _short_directory(name: str) -> Iterator[Path]:
    """A temporary directory with a short path: unix sockets take 107 bytes, podman 50."""
    directory = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
