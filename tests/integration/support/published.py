"""One run of `publish`, and what the registry got of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.registry import Registry


@dataclass(frozen=True)
class Published:
    """One run of `publish`.

    :param uploaded: digests of the blobs that were uploaded.
    :param manifests: how many manifests were.
    """

    run: PantsRun
    descriptor: Mapping[str, Any]
    uploaded: Sequence[str]
    manifests: int

    @property
    def layers(self) -> list[str]:
        """Digests of the layers, the lowest first."""
        return [layer["digest"] for layer in self.descriptor["layers"]]

    @property
    def new_layers(self) -> set[str]:
        """Digests of the layers that were uploaded."""
        return set(self.uploaded) - {self.descriptor["configDigest"]}

    @property
    def reference(self) -> str:
        """What an engine pulls."""
        (reference,) = self.descriptor["references"]
        return f"{reference.rpartition(':')[0]}@{self.descriptor['digest']}"

    def layer(self, path: str) -> Mapping[str, Any]:
        """Returns the one layer of files that has `path`."""
        (found,) = [
            layer
            for layer in self.descriptor["layers"]
            if any(file["path"] == path for file in layer["recipe"].get("files", ()))
        ]
        return dict(found)


def publish(repository: Monorepo, to: Registry, image: str, *options: str) -> Published:
    """Packages and publishes an image.

    :param image: its address, `DIRECTORY:NAME`.
    :param options: of Pants.
    """
    before = len(to.requests())
    registries = {"test": {"address": to.host, "default": True}}
    run = repository.pants(*options, f"--nix-images-registries={registries}", "package", "publish", image)
    created = [r for r in to.requests()[before:] if (r.method, r.status) == ("PUT", 201)]
    digests = [re.search("digest=(sha256(?::|%3A)[0-9a-f]{64})", r.path) for r in created]
    directory, _, name = image.partition(":")
    return Published(
        run,
        repository.descriptor(f"{directory.replace('/', '.')}/{name}.image.json"),
        [found[1].replace("%3A", ":") for found in digests if found],
        len([r for r in created if "/manifests/" in r.path]),
    )
