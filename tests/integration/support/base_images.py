"""Images put into a registry as a document says, whoever may have made them."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any, Mapping, Sequence
from urllib.request import Request, urlopen

from tests.integration.support.images import tar_of

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def put_blob(repository: str, content: bytes) -> dict[str, Any]:
    """Uploads a blob and returns its descriptor, without a media type."""
    host, _, name = repository.partition("/")
    start = Request(f"http://{host}/v2/{name}/blobs/uploads/", method="POST")
    with urlopen(start) as answer:
        location = answer.headers["Location"]
    digest = digest_of(content)
    separator = "&" if "?" in location else "?"
    upload = Request(f"{location}{separator}digest={digest}", data=content, method="PUT")
    upload.add_header("Content-Type", "application/octet-stream")
    urlopen(upload).close()
    return {"digest": digest, "size": len(content)}


def put_manifest(repository: str, tag: str, document: Mapping[str, Any]) -> str:
    """Writes a manifest or an index, and returns its digest."""
    host, _, name = repository.partition("/")
    content = json.dumps(document).encode()
    request = Request(f"http://{host}/v2/{name}/manifests/{tag}", data=content, method="PUT")
    request.add_header("Content-Type", document["mediaType"])
    urlopen(request).close()
    return digest_of(content)


def put_image(
    repository: str,
    tag: str,
    files: Sequence[Mapping[str, bytes]],
    config: Mapping[str, Any] = {},
    *,
    architecture: str = "amd64",
    **more: Any,
) -> str:
    """Makes an image, each layer compressed with gzip, and returns the digest of its manifest.

    :param files: of each layer, by path.
    :param config: the object `config`; `more` is beside it.
    """
    tars = [tar_of(one) for one in files]
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        **more,
    }
    blobs = {tar: put_blob(repository, gzip.compress(tar, mtime=0)) for tar in tars}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            **put_blob(repository, json.dumps(document).encode()),
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **blobs[tar]} for tar in tars
        ],
    }
    return put_manifest(repository, tag, manifest)


def put_index(repository: str, tag: str, images: Mapping[str, str]) -> str:
    """Makes an index of images that are there, and returns its digest.

    :param images: digests by platform, as `linux/arm64`.
    """
    host, _, name = repository.partition("/")
    manifests = []
    for platform, digest in images.items():
        os, architecture, *variant = platform.split("/")
        request = Request(f"http://{host}/v2/{name}/manifests/{digest}")
        request.add_header("Accept", OCI_MANIFEST)
        with urlopen(request) as answer:
            size = len(answer.read())
        manifests.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": digest,
                "size": size,
                "platform": {
                    "os": os,
                    "architecture": architecture,
                    **({"variant": variant[0]} if variant else {}),
                },
            }
        )
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return put_manifest(repository, tag, document)
