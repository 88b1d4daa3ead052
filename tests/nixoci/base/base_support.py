"""Images of other tools: manifests and configs as they write them."""

from __future__ import annotations

import copy
from typing import Any, Sequence

from nixoci.image.image import digest_of
from nixoci.json_output import canonical_json

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_TAR = "application/vnd.docker.image.rootfs.diff.tar"

CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2024-02-29T12:00:00.123456789Z",
    "docker_version": "20.10",
    "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) "]},
    "config": {
        "Env": ["PATH=/usr/bin:/bin", "LANG=C"],
        "Cmd": ["sh"],
        "Entrypoint": None,
        "Labels": None,
        "OnBuild": ["RUN true"],
        "Image": "sha256:0",
        "Shell": ["/bin/bash", "-c"],
        "StopTimeout": 3,
    },
    "history": [
        {"created": "2024-02-29T12:00:00Z", "created_by": "ADD one"},
        {"created": "2024-02-29T12:00:00Z", "created_by": "ENV LANG=C", "empty_layer": True},
        {"created": "2024-02-29T12:00:00Z", "created_by": "RUN two"},
        {"created": "2024-02-29T12:00:00Z", "created_by": "CMD sh", "empty_layer": True},
    ],
}


def named(text: str) -> str:
    """The digest of a text."""
    return digest_of(text.encode())


def image(
    *,
    manifest_type: str = DOCKER_MANIFEST,
    config_type: str = DOCKER_CONFIG,
    layer_types: Sequence[str] = (f"{DOCKER_TAR}.gzip", DOCKER_TAR),
    **changes: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns manifest and config of an image with two layers.

    :param changes: of the config's top level.
    """
    diff_ids = [named(f"tar {number}") for number in range(len(layer_types))]
    config = {**copy.deepcopy(CONFIG), "rootfs": {"type": "layers", "diff_ids": diff_ids}, **changes}
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type},
        "layers": [
            {
                "mediaType": kind,
                "size": 10 + number,
                "digest": diff_ids[number] if kind.endswith("tar") else named(f"blob {number}"),
            }
            for number, kind in enumerate(layer_types)
        ],
    }
    return manifest, config


def documents(manifest: dict[str, Any], config: dict[str, Any]) -> tuple[bytes, bytes]:
    """Returns the bytes of both; the manifest names the config, unless it names one already."""
    content = canonical_json("config", config)
    manifest = copy.deepcopy(manifest)
    if isinstance(manifest.get("config"), dict):
        manifest["config"] = {
            "digest": digest_of(content),
            "size": len(content),
            **manifest["config"],
        }
    return canonical_json("manifest", manifest), content
