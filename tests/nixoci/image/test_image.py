"""Tests of `nixoci.image.image`: assembling images and reading them back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig
from nixoci.image.image import (
    History,
    Image,
    LayerInImage,
    assemble,
    parse_image,
    parse_layer_annotations,
)
from nixoci.image.index.image_index import index
from nixoci.json_output import canonical_json
from nixoci.layer.layer import Layer

CONFIG = ImageConfig(entrypoint=("/bin/é",), architecture="amd64")


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def layer(text: str) -> Layer:
    return Layer(digest(text), len(text), digest(text))


LAYERS = (
    LayerInImage(layer("one"), History(created_by="nix_layer", comment="lowest")),
    LayerInImage(layer("two"), History(created="2024-01-01T00:00:00Z", author="me")),
)


def test_the_exact_bytes_of_an_image() -> None:
    """Config and manifest are canonical JSON and do not change: their digests are published."""
    image = assemble(CONFIG, LAYERS, {"b": "2", "a": "1"})
    assert image.config.decode() == (
        '{"architecture":"amd64","config":{"Entrypoint":["/bin/é"]},'
        '"created":"1970-01-01T00:00:01Z","history":[{"comment":"lowest",'
        '"created":"1970-01-01T00:00:01Z","created_by":"nix_layer"},'
        '{"author":"me","created":"2024-01-01T00:00:00Z"}],"os":"linux",'
        f'"rootfs":{{"diff_ids":["{digest("one")}","{digest("two")}"],"type":"layers"}}}}'
    )
    assert image.config_digest == "sha256:" + hashlib.sha256(image.config).hexdigest()
    assert image.manifest.decode() == (
        '{"annotations":{"a":"1","b":"2"},"config":{'
        f'"digest":"{image.config_digest}","mediaType":"application/vnd.oci.image.config.v1+json",'
        f'"size":{len(image.config)}}},"layers":['
        f'{{"digest":"{digest("one")}",'
        '"mediaType":"application/vnd.oci.image.layer.v1.tar","size":3},'
        f'{{"digest":"{digest("two")}",'
        '"mediaType":"application/vnd.oci.image.layer.v1.tar","size":3}],'
        '"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'
    )
    assert image.digest == "sha256:" + hashlib.sha256(image.manifest).hexdigest()
    assert [item.layer for item in image.layers] == [item.layer for item in LAYERS]


def test_an_image_can_be_read_back() -> None:
    """The bytes of config and manifest are all there is to an image."""
    image = assemble(CONFIG, LAYERS)
    assert parse_image(image.config, image.manifest) == image
    assert hash(parse_image(image.config, image.manifest)) == hash(image)


def test_history_is_not_part_of_a_layer() -> None:
    """Other history, another image, the same layers."""
    other = assemble(CONFIG, [LayerInImage(item.layer) for item in LAYERS])
    image = assemble(CONFIG, LAYERS)
    assert other.digest != image.digest
    assert [item.layer for item in other.layers] == [item.layer for item in image.layers]


def annotated(*annotations: tuple[tuple[str, str], ...]) -> list[LayerInImage]:
    return [replace(item, annotations=each) for item, each in zip(LAYERS, annotations)]


def test_the_exact_bytes_of_annotated_layers() -> None:
    """Annotations are in the manifest, on their layer; layers and config stay what they are."""
    plain = assemble(CONFIG, LAYERS)
    image = assemble(CONFIG, annotated((("a", "é"), ("b", "2")), ()))
    one = f'"digest":"{digest("one")}"'
    assert image.manifest.decode() == plain.manifest.decode().replace(
        one, '"annotations":{"a":"é","b":"2"},' + one
    )
    assert image.config == plain.config
    assert [item.layer for item in image.layers] == [item.layer for item in plain.layers]
    assert assemble(CONFIG, annotated((), ())) == plain


def test_annotations_of_layers_can_be_read_back() -> None:
    """With the config and without it; in whatever order they were given, one image comes of them."""
    image = assemble(CONFIG, annotated((("b", "2"), ("a", "1")), (("c", ""),)))
    expected = ((("a", "1"), ("b", "2")), (("c", ""),))
    assert tuple(item.annotations for item in image.layers) == expected
    assert parse_image(image.config, image.manifest) == image
    assert hash(parse_image(image.config, image.manifest)) == hash(image)
    assert parse_layer_annotations(image.manifest) == expected
    assert parse_layer_annotations(assemble(CONFIG, LAYERS).manifest) == ((), ())


@pytest.mark.parametrize("annotations", [(("", "x"),), (("a", 1),), (("a", "\ud800"),)])
def test_what_is_no_annotation_is_not_written(annotations: Any) -> None:
    with pytest.raises(InvalidInputError):
        assemble(CONFIG, annotated(annotations, ()))


def test_index_has_the_platforms() -> None:
    """An engine finds its image by architecture, operating system and variant."""
    images = [
        assemble(ImageConfig(architecture="amd64"), LAYERS),
        assemble(ImageConfig(architecture="arm", variant="v7"), LAYERS),
    ]
    document = json.loads(index(images, {"a": "1"}).content)
    assert document["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert document["annotations"] == {"a": "1"}
    assert [item["digest"] for item in document["manifests"]] == [i.digest for i in images]
    assert [item["platform"] for item in document["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v7"},
    ]
    with pytest.raises(InvalidInputError) as caught:
        index([images[0], images[0]])
    assert "two of its images are for this platform" in str(caught.value)


def test_history_time_is_validated() -> None:
    """A time that engines cannot parse makes an image that they cannot read."""
    with pytest.raises(InvalidInputError):
        History(created="today")


def change(image: Image, part: str, path: list[Any], value: Any) -> tuple[bytes, bytes]:
    """Changes one place in the config or manifest, and the config's digest with it."""
    documents = {"config": json.loads(image.config), "manifest": json.loads(image.manifest)}
    place = documents[part]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    config = canonical_json("config", documents["config"])
    if part == "config":
        documents["manifest"]["config"]["digest"] = digest(config.decode())
        documents["manifest"]["config"]["size"] = len(config)
    return config, canonical_json("manifest", documents["manifest"])


@pytest.mark.parametrize(
    "part, path, value",
    [
        ("manifest", ["schemaVersion"], 1),
        ("manifest", ["schemaVersion"], True),
        ("manifest", ["mediaType"], "application/vnd.oci.image.index.v1+json"),
        ("manifest", ["config", "digest"], digest("other")),
        ("manifest", ["config", "size"], 1),
        ("manifest", ["layers"], []),
        ("manifest", ["layers", 0], "x"),
        ("manifest", ["layers", 0, "digest"], digest("other")),
        ("manifest", ["layers", 0, "digest"], "sha256:../../../etc/passwd"),
        ("manifest", ["layers", 0, "size"], -1),
        ("manifest", ["layers", 0, "size"], "3"),
        ("manifest", ["annotations"], {"": "x"}),
        ("manifest", ["annotations"], {"a": 1}),
        ("manifest", ["layers", 0, "annotations"], []),
        ("manifest", ["layers", 0, "annotations"], "x"),
        ("manifest", ["layers", 0, "annotations"], {"": "x"}),
        ("manifest", ["layers", 0, "annotations"], {"a": 1}),
        ("manifest", ["layers", 1, "annotations"], {"a": None}),
        ("manifest", ["layers", 1, "annotations"], {"a": ["b"]}),
        ("config", ["rootfs", "diff_ids"], [digest("one")]),
        ("config", ["rootfs", "diff_ids"], [digest("one"), 2]),
        ("config", ["rootfs"], None),
        ("config", ["history"], []),
        ("config", ["history", 0], {"empty_layer": True}),
        ("config", ["history", 0], {"empty_layer": 1}),
        ("config", ["history", 0], {"created": "x"}),
        ("config", ["os"], 1),
    ],
)
def test_what_does_not_fit_together_is_refused(part: str, path: list[Any], value: Any) -> None:
    """No config and manifest are taken that a push could stumble over."""
    with pytest.raises(InvalidInputError):
        parse_image(*change(assemble(CONFIG, LAYERS), part, path, value))


@pytest.mark.parametrize(
    "path, value",
    [
        (["schemaVersion"], 1),
        (["mediaType"], "application/vnd.oci.image.index.v1+json"),
        (["mediaType"], None),
        (["annotations"], {"a": 1}),
        (["config"], None),
        (["config", "mediaType"], "application/vnd.oci.empty.v1+json"),
        (["config", "digest"], "sha256:../../../etc/passwd"),
        (["config", "size"], -1),
        (["layers"], {}),
        (["layers", 0], "x"),
        (["layers", 0, "digest"], "sha256:x"),
        (["layers", 0, "size"], -1),
        (["layers", 1, "mediaType"], 1),
        (["layers", 1, "annotations"], {"a": 1}),
    ],
)
def test_a_manifest_alone_is_checked_as_well(path: list[Any], value: Any) -> None:
    """What no config could make an image of is refused."""
    _, manifest = change(assemble(CONFIG, LAYERS), "manifest", path, value)
    with pytest.raises(InvalidInputError):
        parse_layer_annotations(manifest)
