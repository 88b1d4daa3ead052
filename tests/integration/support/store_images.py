"""Small images of real store paths, as descriptors that `nixoci` reads; and the command itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Iterator, Mapping, Sequence

from nixoci.compression.formats import Compression
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import descriptor_json
from nixoci.image.healthcheck import Healthcheck
from nixoci.image.image import LayerInImage, assemble
from nixoci.image.manifest_format import OCI, ManifestFormat
from nixoci.image.reference import Reference
from nixoci.layer.digest import digest_layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.hashes import to_sri
from nixoci.store.path import StorePath

from tests.integration.support.images import static_busybox
from tests.integration.support.nix import Nix
from tests.integration.support.process import dies_with_parent, run

#: What the image prints without arguments.
GREETING = "hello from the store"


@dataclass(frozen=True)
class StoreImage:
    """An image whose layers are store paths: a busybox first, then data.

    :param descriptor: the file.
    :param document: its contents.
    """

    descriptor: Path
    document: Mapping[str, Any]
    paths: tuple[str, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Digests, the lowest first."""
        return tuple(layer["digest"] for layer in self.document["layers"])


def write_store_image(
    nix: Nix,
    directory: Path,
    *,
    data: Mapping[str, bytes],
    references: Sequence[str] = ("registry.example/acme/api:1.0", "acme/api:latest"),
    compression: Compression | None = None,
    healthcheck: Healthcheck | None = None,
    format: ManifestFormat = OCI,
) -> StoreImage:
    """Adds store paths, and writes the descriptor of an image of them to `directory`.

    :param data: contents of a file by the name of the store path that holds it.
    :param compression: of all layers.
    :param healthcheck: in the command of which `{sh}` is the shell of the image.
    :param format: of the manifest.
    """
    directory.mkdir(parents=True, exist_ok=True)
    contents = {"busybox": {"bin/sh": static_busybox().read_bytes()}}
    contents.update({name: {"data": content} for name, content in data.items()})
    paths = []
    for name, files in contents.items():
        for file, content in files.items():
            target = directory / name / file
            target.parent.mkdir(parents=True)
            target.write_bytes(content)
            target.chmod(0o555)
        paths.append(nix.run("nix-store", "--add", directory / name).strip())
    known = nix.path_info(*paths)
    recipes = []
    for path in paths:
        store_path = StorePath.parse(path)
        nar_hash = to_sri(bytes.fromhex(known[path].nar_hash))
        recipes.append(LayerRecipe((RecipeEntry(store_path, nar_hash, store_path),)))
    config = ImageConfig(
        architecture="amd64",
        entrypoint=(f"{paths[0]}/bin/sh", "-c"),
        cmd=(f"echo {GREETING}",),
        healthcheck=healthcheck
        and replace(
            healthcheck,
            test=tuple(word.replace("{sh}", f"{paths[0]}/bin/sh") for word in healthcheck.test),
        ),
    )
    layers = [LayerInImage(digest_layer(recipe, compression=compression)) for recipe in recipes]
    image = assemble(config, layers, format=format)
    descriptor = directory / "image.json"
    names = [Reference.parse(reference) for reference in references]
    descriptor.write_bytes(descriptor_json(image, recipes, references=names))
    return StoreImage(descriptor, json.loads(descriptor.read_bytes()), tuple(paths))


def nixoci_command(*arguments: str | Path) -> list[str]:
    """Returns the words that start `nixoci` with the interpreter of the tests."""
    return [sys.executable, "-m", "nixoci", *map(os.fspath, arguments)]


def nixoci_environment(
    nix: Nix, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns an environment in which `nixoci_command` works, on the store of `nix`."""
    return {**nix.environment(base), "PYTHONPATH": os.pathsep.join(sys.path)}


def nixoci(nix: Nix, *arguments: str | Path, check: bool = True) -> CompletedProcess[str]:
    """Runs `nixoci` to its end.

    :raises CommandFailedError: it failed, and `check` is true.
    """
    return run(nixoci_command(*arguments), env=nixoci_environment(nix), check=check)


@contextlib.contextmanager
def serving(nix: Nix, log: Path, *arguments: str | Path) -> Iterator[list[str]]:
    """Runs `nixoci serve` while the body runs, and then ends it by SIGTERM, at which it exits 0.

    Gives the lines that it printed: name and digest of an image each.

    :param log: gets what it logs, a line for every request.
    """
    command = nixoci_command("serve", "--log-requests", *arguments)
    with log.open("wb") as output, subprocess.Popen(
        dies_with_parent(command),
        env=nixoci_environment(nix),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=output,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        try:
            # It prints all lines at once, the last of them when it can be asked.
            lines = [process.stdout.readline()]
            descriptor = process.stdout.fileno()
            os.set_blocking(descriptor, False)
            lines += process.stdout.readlines()
            os.set_blocking(descriptor, True)
            yield [line.rstrip("\n") for line in lines if line]
        finally:
            process.terminate()
            status = process.wait(timeout=20)
    assert 0 == status


def requested_layers(log: str, image: StoreImage) -> list[str]:
    """Returns which layers of an image were sent, each as often as it was, from a log of requests."""
    digests = re.findall(r"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64}) 20[06]", log)
    return [digest for digest in digests if digest in image.layers]
