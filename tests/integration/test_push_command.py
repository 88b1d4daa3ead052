"""`nixoci push` with layers of the Nix store: the command, its memory, its secrets."""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess
from typing import Iterator

import nixoci
import pytest
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import descriptor_json
from nixoci.image.image import LayerInImage, assemble
from nixoci.layer.digest import digest_layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.path import StorePath

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.faulty_registry import Fault, TokenGate, faulty_registry, swallow
from tests.integration.support.nix import Nix
from tests.integration.support.registry import PASSWORD, USER, Registry
from tests.nixoci.layer.long_build_support import LongBuild, running, wait_until

_SOURCES = Path(nixoci.__file__).parent.parent
_PROGRAM = (sys.executable, "-m", "nixoci")

#: Tags are written, and what was pushed could not be said.
UNTOLD = 74


class Command:
    """Runs `python -m nixoci` against a store of the test's own."""

    def __init__(self, nix: Nix, directory: Path) -> None:
        self.nix = nix
        self.directory = directory
        self.store_root = directory / "store"
        self.environment = {**nix.environment(), "PYTHONPATH": str(_SOURCES)}

    def __call__(
        self, *arguments: str | Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_PROGRAM, *map(str, arguments)],
            env={**self.environment, **environment},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture()
def command(machine_nix: Nix, tmp_path: Path) -> Command:
    """The command, and a store that has the paths of the tiny closure."""
    chroot = machine_nix.chroot_store(tmp_path / "store")
    machine_nix.copy_closure(tiny_paths(machine_nix, tmp_path), chroot)
    return Command(chroot, tmp_path)


def tiny_paths(nix: Nix, directory: Path) -> list[str]:
    return nix.build(materialize_tiny_closure(directory / "sources"), "a", "b", "c")


def write_descriptor(command: Command, paths: list[str]) -> Path:
    """Writes the descriptor of an image with a layer for each store path."""
    store_root = str(command.store_root)
    recipes = []
    for path in paths:
        nar_hash = bytes.fromhex(command.nix.path_info(path)[path].nar_hash.rpartition(":")[2])
        sri = f"sha256-{base64.b64encode(nar_hash).decode()}"
        recipes.append(LayerRecipe((RecipeEntry(StorePath.parse(path), sri, path),)))
    layers = [LayerInImage(digest_layer(recipe, store_root=store_root)) for recipe in recipes]
    image = assemble(ImageConfig(architecture="amd64"), layers)
    file = command.directory / "image.json"
    file.write_bytes(descriptor_json(image, recipes))
    return file


def test_the_command(command: Command, machine_nix: Nix, plain_registry: Registry) -> None:
    """What was pushed is printed and written down; the second time nothing needs the store."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    names = [f"{plain_registry.host}/acme/api:{tag}" for tag in ("1", "2")]
    options = ("--jobs", "2", "--result", "result.json", "--log-blobs", "--label", "app:image")
    first = command("push", image, *names, *options)
    assert first.returncode == 0, first.stderr
    result = json.loads((command.directory / "result.json").read_text())
    assert result["digest"] == json.loads(image.read_text())["digest"]
    assert [tag["reference"] for tag in result["tags"]] == names
    lines = first.stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["app:image:", f"{name}@{result['digest']}", "written:"] for name in names
    ]
    assert len(first.stderr.splitlines()) == 4

    (command.store_root / "nix" / "store").rename(command.directory / "gone")
    second = command("push", image, *names, PATH="/nonexistent")
    assert second.returncode == 0, second.stderr
    assert all(" unchanged: " in line for line in second.stdout.splitlines())
    assert second.stderr == ""


def test_an_altered_store_path(
    command: Command, machine_nix: Nix, plain_registry: Registry
) -> None:
    """The path whose contents are others is named, and the registry has no tag."""
    paths = tiny_paths(machine_nix, command.directory)
    image = write_descriptor(command, paths)
    altered = Path(f"{command.store_root}{paths[1]}")
    altered.chmod(0o644)
    altered.write_text("b needs something else")
    altered.chmod(0o444)
    result = command("push", image, f"{plain_registry.host}/acme/api:1")
    assert result.returncode == 1
    assert paths[1] in result.stderr and "not those that Nix registered" in result.stderr
    assert not {paths[0], paths[2]} & set(result.stderr.replace(",", " ").split())
    assert not plain_registry.requests("PUT", "/manifests/")


def test_secrets_are_shown_nowhere(
    command: Command, machine_nix: Nix, plain_registry: Registry
) -> None:
    """Neither password nor token is in any output or file of a push, whether it succeeds or not."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    helper = command.directory / "bin" / "docker-credential-tests"
    helper.parent.mkdir()
    answer = json.dumps({"ServerURL": "", "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{answer}'\n")
    helper.chmod(0o755)
    config = command.directory / "docker"
    config.mkdir()
    (config / "config.json").write_text('{"credsStore": "tests"}')
    environment = {
        "DOCKER_CONFIG": str(config),
        "PATH": f"{helper.parent}:{command.environment['PATH']}",
    }
    gate = TokenGate(writable="acme/.*")
    outputs = []
    with faulty_registry(plain_registry.host, gate=gate) as proxy:
        for name, status in (("acme/api", 0), ("forbidden/api", 1)):
            arguments = ("push", image, f"{proxy.host}/{name}:1", "--result", f"{status}.json")
            result = command(*arguments, **environment)
            assert result.returncode == status, result.stderr
            outputs.append(result.stdout + result.stderr)
        assert proxy.count("GET", "^/token") >= 2
        as_json = command("--json-errors", *arguments, **environment)
        outputs.append(as_json.stdout + as_json.stderr)
    outputs.append((command.directory / "0.json").read_text())
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, encoded, "secret-token"):
        assert not [output for output in outputs if secret in output]


@pytest.fixture()
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in which there can be more files, and nothing in them."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "nixoci", path], check=True)
    try:
        (path / "large").write_bytes(bytes(4096))
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def _redirected(command: Command, redirect: str, *arguments: str | Path) -> CompletedProcess[str]:
    """Runs a command with what a shell makes of its standard streams."""
    return subprocess.run(
        [*("sh", "-c", f'"$@" {redirect}', "sh"), *_PROGRAM, *map(str, arguments)],
        env=command.environment,
        cwd=command.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


_RESULTS = [(), ("--result", "result.json"), ("--result", "-")]


@pytest.mark.parametrize("redirect", [">&-", "1< /dev/null", "> /dev/full"])
@pytest.mark.parametrize("result", _RESULTS)
def test_a_standard_output_that_is_closed_is_found_first(
    command: Command,
    machine_nix: Nix,
    plain_registry: Registry,
    redirect: str,
    result: tuple[str, ...],
) -> None:
    """No registry hears of the push."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    name = f"{plain_registry.host}/acme/api:1"
    found = _redirected(command, redirect, "push", image, name, *result)
    reason = "No space left on device" if "full" in redirect else "Bad file descriptor"
    assert found.stderr == f"nixoci: standard output cannot be written: {reason}.\n"
    assert found.returncode == 1 and not plain_registry.requests()
    assert not (command.directory / "result.json").exists()


@pytest.mark.parametrize("result", _RESULTS)
def test_a_standard_output_that_gets_no_room_at_the_end(
    command: Command,
    machine_nix: Nix,
    plain_registry: Registry,
    full_disk: Path,
    result: tuple[str, ...],
) -> None:
    """The status says that the tags are written, and a result in a file is there."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    name = f"{plain_registry.host}/acme/api:1"
    found = _redirected(command, f"> {full_disk}/out", "push", image, name, *result)
    assert found.returncode == UNTOLD
    assert found.stderr == (
        "nixoci: The image was pushed, and its tags were written, but standard output cannot be "
        "written: No space left on device.\n"
    )
    assert plain_registry.requests("PUT", "/manifests/1")
    if "result.json" in result:
        document = json.loads((command.directory / "result.json").read_bytes())
        assert document["tags"][0]["outcome"] == "written"


@pytest.mark.parametrize("result", ["no/such", "directory", "socket", ""])
def test_a_result_that_cannot_be_written_is_found_first(
    command: Command, machine_nix: Nix, plain_registry: Registry, result: str
) -> None:
    """No registry hears of the push."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    (command.directory / "directory").mkdir()
    os.mknod(command.directory / "socket", stat.S_IFSOCK | 0o600)
    found = command("push", image, f"{plain_registry.host}/acme/api:1", "--result", result)
    assert found.returncode == 1 and " cannot be written: " in found.stderr
    assert found.stdout == "" and not plain_registry.requests()


def test_a_result_that_gets_no_room_at_the_end(
    command: Command, machine_nix: Nix, plain_registry: Registry, full_disk: Path
) -> None:
    """The status says that the tags are written, and the summary is printed all the same."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    name = f"{plain_registry.host}/acme/api:1"
    found = command("push", image, name, "--result", "disk/result.json")
    assert found.returncode == UNTOLD and " written: " in found.stdout
    assert "written, but disk/result.json cannot be written: No space left" in found.stderr
    assert os.listdir(full_disk) == ["large"]
    assert plain_registry.requests("PUT", "/manifests/1")


def test_a_result_in_a_pipe(
    command: Command, machine_nix: Nix, plain_registry: Registry
) -> None:
    """It stays one, and its reader gets the result; a link is followed."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    os.mkfifo(command.directory / "pipe")
    (command.directory / "link").symlink_to("pipe")
    path = command.directory / "pipe"
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    found = command("push", image, f"{plain_registry.host}/acme/api:1", "--result", "link")
    assert found.returncode == 0, found.stderr
    assert json.loads(os.read(reader, 1 << 16))["tags"][0]["outcome"] == "written"
    assert stat.S_ISFIFO(path.stat().st_mode) and (command.directory / "link").is_symlink()
    os.close(reader)


def test_a_push_that_fails_leaves_the_old_result(
    command: Command, machine_nix: Nix, plain_registry: Registry
) -> None:
    """And nothing beside it."""
    image = write_descriptor(command, tiny_paths(machine_nix, command.directory))
    (command.directory / "result.json").write_text("old")
    (command.store_root / "nix" / "store").rename(command.directory / "gone")
    before = sorted(os.listdir(command.directory))
    name = f"{plain_registry.host}/acme/api:1"
    found = command("push", image, name, "--result", "result.json")
    assert found.returncode != 0
    assert (command.directory / "result.json").read_text() == "old"
    assert sorted(os.listdir(command.directory)) == before


@pytest.mark.parametrize("terminal", [True, False])
def test_builds_of_a_push_are_shown(tmp_path: Path, plain_registry: Registry, terminal: bool) -> None:
    """Where the push shows how far it is; what Nix and its builders say is in their log."""
    build = LongBuild(tmp_path, log=str(tmp_path / "build.log"))
    words = ("push", "image.json", f"{plain_registry.host}/acme/api:1", "--origins=origins.json")
    master, slave = pty.openpty()
    with build.command(*words, stderr=slave if terminal else subprocess.PIPE) as process:
        os.close(slave)
        output = os.fdopen(master, "rb", buffering=0) if terminal else process.stderr
        assert output is not None
        said = b""
        while b"Building" not in said:
            said += os.read(output.fileno(), 4096) or pytest.fail(said.decode())
        line = said.decode().rstrip("\n").split("\x1b[K")[-1]
        assert f"Building {build.word} (0 built, 0 left)" in line
        assert ("of 2 layers, " in line) == terminal and (f"(log: {tmp_path}/build.log)" in line) != terminal
        wait_until(lambda: f"noise-{build.word}" in (tmp_path / "build.log").read_text())
        (tmp_path / "go").touch()
        with suppress(OSError):
            while more := os.read(output.fileno(), 4096):
                said += more
        assert process.wait(60) == 1
    assert b"noise" not in said and b"building '" not in said
    assert f"building '{build.derivation.drv_path}'" in (tmp_path / "build.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_push_ends_its_builds(
    tmp_path: Path, plain_registry: Registry, number: signal.Signals
) -> None:
    """Although they run in threads, and the signal reached the command alone."""
    build = LongBuild(tmp_path)
    words = ("push", "image.json", f"{plain_registry.host}/acme/api:1", "--origins=origins.json")
    with build.command(*words, "--result=result.json") as process:
        wait_until(build.is_building)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + number and b"Traceback" not in said
        wait_until(lambda: not running(build.word))
        left = os.listdir(tmp_path)
        assert not [name for name in left if "result" in name or "partial" in name]
    assert not plain_registry.requests("PUT", "/manifests/")


_PEAK_PROGRAM = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from nixoci.image.image import LayerInImage, assemble
from nixoci.image.config import ImageConfig
from nixoci.layer.digest import digest_layer
from nixoci.layer.write import write_layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.image.reference import Reference
from nixoci.registry.push import push
from nixoci.store.path import StorePath
path = StorePath.parse("/nix/store/" + "0" * 32 + "-large")
recipe = LayerRecipe((RecipeEntry(path, "sha256-test", path),))
def write(recipe, layer, write):
    return write_layer(recipe, layer, write, store_root=sys.argv[2])
layer = digest_layer(recipe, store_root=sys.argv[2], overlap=False)
image = assemble(ImageConfig(architecture="amd64"), [LayerInImage(layer)])
push(image, [recipe], [Reference.parse(sys.argv[3])], write, {})
print(layer.size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_peak_memory_of_two_gigabytes(plain_registry: Registry, tmp_path: Path) -> None:
    """A layer of 2 GB passes through less than 100 MiB of memory."""
    path = tmp_path / "nix" / "store" / f"{'0' * 32}-large"
    path.parent.mkdir(parents=True)
    with open(path, "wb") as file:
        file.truncate(2_000_000_000)
    faults = [Fault(swallow, "PUT", times=100)]
    with faulty_registry(plain_registry.host, *faults) as proxy:
        reference = f"{proxy.host}/acme/api:1"
        arguments = ("-I", "-S", "-c", _PEAK_PROGRAM, _SOURCES, tmp_path, reference)
        # The shell between keeps this process out of the peak that the kernel reports.
        shell = ("sh", "-c", '"$@"; exit $?', "sh", sys.executable, *map(str, arguments))
        result = subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    size, peak = map(int, result.stdout.split())
    assert size > 2_000_000_000
    assert peak < 100 * 1024 * 1024
