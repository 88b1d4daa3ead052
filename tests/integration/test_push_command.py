"""`nixoci push` with layers of the Nix store: the command, its memory, its secrets."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

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

_SOURCES = Path(nixoci.__file__).parent.parent


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
            [sys.executable, "-m", "nixoci", *map(str, arguments)],
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
