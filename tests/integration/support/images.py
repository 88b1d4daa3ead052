"""A tiny image that owes nothing to this project, to see that registries and engines work."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Mapping

from tests.integration.support.cache import cached_directory
from tests.integration.support.debian import debian_packages, unpack

#: What the image prints when it is run without arguments.
HELLO = "hello from busybox"


def static_busybox() -> Path:
    """Returns the path of a statically linked busybox, which is a shell too when called `sh`."""
    (archive,) = debian_packages("bookworm", ["busybox-static"]).glob("*.deb")

    def make(directory: Path, _final: Path) -> None:
        unpack(archive, directory, "./bin/busybox", "./usr/bin/busybox")

    root = cached_directory("test-debs", f"{archive.parent.name}-busybox", make)
    (program,) = root.rglob("busybox")
    return program


def write_hello_layout(directory: Path, tag: str = "latest", layers: int = 1) -> Path:
    """Writes an OCI image layout with one image and returns `directory`.

    The image has a busybox, runs `sh`, and prints `HELLO` by default. It is compressed with gzip,
    as most images in the world are.

    :param layers: how many layers it has; those after the first hold one small file each.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(media_type: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    tars = [tar_of({"bin/sh": static_busybox().read_bytes()})]
    tars += [tar_of({f"layers/{number}": b"%d\n" % number}) for number in range(1, layers)]
    layer_type = "application/vnd.oci.image.layer.v1.tar+gzip"
    layer_blobs = [blob(layer_type, gzip.compress(tar, mtime=0)) for tar in tars]
    diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/sh", "-c"], "Cmd": [f"echo {HELLO}"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": blob("application/vnd.oci.image.config.v1+json", json.dumps(config).encode()),
        "layers": layer_blobs,
    }
    entry = blob(manifest_type, json.dumps(manifest).encode())
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Returns a tar of files that everybody may run."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755
            archive.addfile(member, io.BytesIO(data))
    return output.getvalue()
