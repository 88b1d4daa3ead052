"""Images with manifests of Docker's format: written, read back, and where they are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from nixoci.compression.formats import Compression
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.healthcheck import Healthcheck
from nixoci.image.image import Image, LayerInImage, assemble, parse_image
from nixoci.image.index.image_index import index
from nixoci.image.manifest_format import DOCKER, OCI
from nixoci.image.uncompressed import uncompressed
from nixoci.json_output import canonical_json
from nixoci.layer.layer import Layer

from tests.nixoci.image.layout_support import known_image

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
CONFIG = ImageConfig(architecture="amd64")
PLAIN = Layer(ONE, 7, ONE)


def packed(name: str) -> Layer:
    compression = Compression.create(name)
    return Layer(TWO, 5, THREE, compression.media_type, compression, 7)


def docker_image(*layers: Layer) -> Image:
    return assemble(CONFIG, [LayerInImage(layer) for layer in layers], format=DOCKER)


def test_the_exact_bytes_of_a_manifest() -> None:
    """Docker's media types; the config, and so the image ID, is that of the OCI image."""
    image = docker_image(PLAIN, packed("gzip"))
    assert image.manifest.decode() == (
        f'{{"config":{{"digest":"{image.config_digest}",'
        f'"mediaType":"application/vnd.docker.container.image.v1+json","size":{len(image.config)}}},'
        f'"layers":[{{"digest":"{ONE}","mediaType":"application/vnd.docker.image.rootfs.diff.tar","size":7}},'
        f'{{"digest":"{TWO}","mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":5}}],'
        '"mediaType":"application/vnd.docker.distribution.manifest.v2+json","schemaVersion":2}'
    )
    oci = assemble(CONFIG, [LayerInImage(PLAIN), LayerInImage(packed("gzip"))])
    assert (image.config, image.platform, image.layers) == (oci.config, oci.platform, oci.layers)
    assert image.digest != oci.digest
    assert image.descriptor()["mediaType"] == image.media_type == DOCKER.manifest


def test_it_can_be_read_back() -> None:
    """Also hidden in a descriptor, and with its layers uncompressed."""
    plain = docker_image(PLAIN)
    assert parse_image(plain.config, plain.manifest) == plain
    image = docker_image(PLAIN, packed("gzip"))
    recipes = known_image(b"1", b"2").recipes
    data = descriptor_json(image, recipes)
    assert Descriptor.from_json(data) == Descriptor(image, recipes)
    document = json.loads(data)
    assert document["mediaType"] == DOCKER.manifest
    assert [layer["mediaType"] for layer in document["layers"]] == [
        layer["mediaType"] for layer in document["manifest"]["layers"]
    ]
    assert uncompressed(image) == docker_image(PLAIN, Layer(THREE, 7, THREE))


def test_what_it_does_not_have_is_refused() -> None:
    """zstd, annotations of the manifest and of layers: with the way out."""
    with pytest.raises(InvalidInputError) as caught:
        docker_image(packed("zstd"))
    assert "have no zstd layers" in str(caught.value) and "compress with gzip" in str(caught.value)
    with pytest.raises(InvalidInputError) as caught:
        assemble(CONFIG, [LayerInImage(PLAIN)], {"a": "b"}, DOCKER)
    assert "such manifests have no annotations" in str(caught.value)
    with pytest.raises(InvalidInputError) as caught:
        assemble(CONFIG, [LayerInImage(PLAIN, annotations=(("a", "b"),))], format=DOCKER)
    assert "such manifests have no annotations" in str(caught.value)
    with pytest.raises(InvalidInputError) as caught:
        index([docker_image(PLAIN)])
    assert "is of Docker's format" in str(caught.value)


@pytest.mark.parametrize(
    "path, value",
    [
        (["mediaType"], OCI.manifest),
        (["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json"),
        (["mediaType"], "application/vnd.docker.distribution.manifest.v1+json"),
        (["config", "mediaType"], OCI.config),
        (["layers", 0, "mediaType"], PLAIN.media_type),
        (["layers", 0, "mediaType"], "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        (["layers", 0, "mediaType"], "application/vnd.docker.image.rootfs.diff.tar.zstd"),
        (["layers", 0, "digest"], TWO),
        (["layers", 0, "annotations"], {"a": "b"}),
        (["annotations"], {"a": "b"}),
    ],
)
def test_mixtures_are_refused(path: list[Any], value: Any) -> None:
    """A manifest is of one format in all of its parts."""
    image = docker_image(PLAIN)
    document = place = json.loads(image.manifest)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInputError):
        parse_image(image.config, canonical_json("manifest", document))


def test_whose_healthcheck_podman_drops() -> None:
    """That of an OCI image, unless it says that there is none."""
    check = Healthcheck(("CMD", "/bin/check"))
    none = Healthcheck(("NONE",))
    found = {
        (name, str(format.name)): assemble(
            replace(CONFIG, healthcheck=healthcheck), [LayerInImage(PLAIN)], format=format
        ).loses_healthcheck
        for name, healthcheck in (("check", check), ("none", none), ("", None))
        for format in (OCI, DOCKER)
    }
    assert [key for key, lost in found.items() if lost] == [("check", "oci")]
