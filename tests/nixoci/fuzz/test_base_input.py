"""Base images: manifests, configs, indexes and locks of others, and archives that any tool wrote."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from nixoci.base.archive import base_in_archive
from nixoci.base.image import config_descriptor, parse_base
from nixoci.base.index import choose_manifest, parse_index
from nixoci.base.inherit import inherit
from nixoci.base.lock import BaseLock, LockedImage, lock_moves
from nixoci.image.archive_listing import ArchiveListing, list_archive
from nixoci.image.config import ImageConfig, Platform
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.image import assemble, digest_of
from nixoci.json_output import canonical_json
from nixoci.recipe.blob import BlobRecipe

from tests.nixoci.base.base_support import documents, image, named
from tests.nixoci.fuzz.fuzz import fuzz

_MANIFEST, _CONFIG = documents(*image())
_AMD64 = Platform("linux", "amd64")
_INDEX = canonical_json(
    "index",
    {
        "schemaVersion": 2,
        "manifests": [
            {"digest": named(one), "size": 1, "platform": {"os": "linux", "architecture": one}}
            for one in ("amd64", "arm64")
        ],
    },
)
_LOCK = BaseLock("x/y:1", named("i"), (LockedImage("linux/amd64", named("m"), 3, "2024"),))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_configs(seed: int) -> None:
    """What is taken can be the base of an image whose descriptor can be read."""

    def check(data: bytes) -> None:
        manifest = image()[0]
        manifest["config"].update(digest=digest_of(data), size=len(data))
        base = parse_base(canonical_json("manifest", manifest), data, ("x/y",))
        made = assemble(inherit(base.config, ImageConfig()), base.layers, after=base.after)
        assert Descriptor.from_json(descriptor_json(made, base.recipes)).image == made

    fuzz(check, (_CONFIG,), seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_manifests(seed: int) -> None:
    def check(data: bytes) -> None:
        config_descriptor(data)
        base = parse_base(data, _CONFIG)
        assert len(base.recipes) == len(base.layers)

    fuzz(check, (_MANIFEST,), seed)


def test_indexes_and_locks() -> None:
    def check_index(data: bytes) -> None:
        choose_manifest(parse_index(data) or (), _AMD64)

    def check_lock(data: bytes) -> None:
        lock = BaseLock.from_json(data)
        assert BaseLock.from_json(lock.to_json()) == lock
        lock_moves(lock, _LOCK)
        lock.choose(_AMD64)

    def check_recipe(data: bytes) -> None:
        recipe = BlobRecipe.from_json(data)
        assert BlobRecipe.from_json(recipe.to_json()) == recipe

    fuzz(check_index, (_INDEX,), 1)
    fuzz(check_lock, (_LOCK.to_json(),), 1)
    recipe = BlobRecipe(named("b"), 3, named("d"), "x", ("x/y",), "a/b", 5)
    fuzz(check_recipe, (recipe.to_json(),), 1)


def _tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            content = b'[{"Config": "c.json", "Layers": ["l"]}]' if name == "manifest.json" else _CONFIG
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("seed", [1, 2])
def test_archives(seed: int, tmp_path: Path) -> None:
    def check(data: bytes) -> None:
        path = tmp_path / "archive"
        path.write_bytes(data)
        listing = list_archive(str(path), "0" * 64)
        assert ArchiveListing.from_json(listing.to_json()) == listing
        base_in_archive(listing, _AMD64)

    corpus = (_tar("manifest.json", "c.json", "l"), _tar("index.json", "oci-layout", "blobs/sha256/a"))
    fuzz(check, corpus, seed, cost=4)
