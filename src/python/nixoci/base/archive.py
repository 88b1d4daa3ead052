"""An image archive or layout → an image to build on, whose layers stay where they are."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import Any, Mapping

from nixoci.base.answer import BaseDocuments
from nixoci.base.errors import UnusableBaseError
from nixoci.base.image import BaseImage, parse_base
from nixoci.base.index import choose_manifest, parse_index
from nixoci.compression.formats import FORMATS
from nixoci.errors import InvalidInputError
from nixoci.image.archive_listing import ArchiveListing, ListedFile, docker_entries
from nixoci.image.config import Platform
from nixoci.image.image import digest_of
from nixoci.image.layout import blob_path
from nixoci.image.manifest_format import OCI
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.layer.layer import MEDIA_TYPE_LAYER_TAR

#: The first bytes of compressed files.
_MAGIC = {"1f8b": FORMATS["gzip"].media_type, "28b52ffd": FORMATS["zstd"].media_type}


def base_in_archive(listing: ArchiveListing, platform: Platform, digest: str = "") -> BaseImage:
    """Returns the image in an archive, or in a directory, that is an OCI image layout or what `docker save` writes.

    :param platform: to choose by, where there are several.
    :param digest: of the manifest that is meant, if that is said.
    :raises UnusableBaseError: and `InvalidInputError`: there is no such image, or it cannot be a base.
    """
    if "index.json" in listing.documents:
        documents = _of_layout(listing, platform, digest)
        located = {
            f"sha256:{name[len('blobs/sha256/'):]}": file
            for name, file in listing.files.items()
            if name.startswith("blobs/sha256/")
        }
    else:
        documents, located = _of_docker(listing)
        if digest:
            raise UnusableBaseError(
                "what `docker save` writes has no manifest, so no digest; leave the field `digest` out"
            )
    image = parse_base(documents.manifest, documents.config)
    missing = [one.digest for one in image.recipes if one.digest not in located]
    if missing:
        raise UnusableBaseError(f"the archive lacks its layer {missing[0]}; write it once more")
    recipes = tuple(
        replace(one, file=located[one.digest].file, offset=located[one.digest].offset)
        for one in image.recipes
    )
    return replace(image, recipes=recipes)


def _blob(listing: ArchiveListing, digest: str) -> bytes:
    content = listing.documents.get(blob_path(digest))
    if content is None:
        raise UnusableBaseError(f"the archive lacks the document {digest}; write it once more")
    if digest_of(content) != digest:
        raise InvalidInputError("digest of a document", digest_of(content), f"expected {digest}")
    return content


def _of_layout(listing: ArchiveListing, platform: Platform, digest: str) -> BaseDocuments:
    if not digest:
        digest = _named(listing.documents["index.json"], platform)
    content = _blob(listing, digest)
    listed = parse_index(content)
    if listed is not None:
        # An index with all platforms is one entry of `index.json`.
        content = _blob(listing, choose_manifest(listed, platform).digest)
    config = get_field(parse_object("image manifest", content), "config", dict)
    return BaseDocuments(content, _blob(listing, get_field(config, "digest", str)))


def _named(index: bytes, platform: Platform) -> str:
    listed = parse_index(index) or ()
    digests = list(dict.fromkeys(one.digest for one in listed))
    if len(digests) == 1:
        return digests[0]
    if any(one.platform is None for one in listed):
        raise UnusableBaseError(
            f"it has {len(digests)} images, and does not say of all for which platform they are; choose one by the "
            f"field `digest`: {', '.join(digests)}"
        )
    return choose_manifest(listed, platform).digest


def _of_docker(listing: ArchiveListing) -> tuple[BaseDocuments, dict[str, ListedFile]]:
    """Returns the image that `docker save` wrote, with a manifest that it would have."""
    entries = docker_entries(listing.documents)
    if len(entries) != 1:
        raise UnusableBaseError(
            f"it has {len(entries)} images in its manifest.json; save one image alone"
            if entries
            else "it has neither an index.json nor a manifest.json: it is no image"
        )
    name = posixpath.normpath(get_field(entries[0], "Config", str))
    config = listing.documents.get(name)
    if config is None:
        raise UnusableBaseError(f"the archive lacks its config {name}; write it once more")
    layers: list[Mapping[str, Any]] = []
    located: dict[str, ListedFile] = {}
    for layer in get_list(entries[0], "Layers", str):
        file = listing.files.get(posixpath.normpath(layer))
        if file is None or not file.digest:
            raise UnusableBaseError(f"the archive lacks its layer {layer}; write it once more")
        located[file.digest] = file
        kind = [own for magic, own in _MAGIC.items() if file.magic.startswith(magic)]
        media_type = kind[0] if kind else MEDIA_TYPE_LAYER_TAR
        layers.append({"mediaType": media_type, "digest": file.digest, "size": file.size})
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI.manifest,
        "config": {"mediaType": OCI.config, "digest": digest_of(config), "size": len(config)},
        "layers": layers,
    }
    return BaseDocuments(canonical_json("image manifest", manifest), config), located
