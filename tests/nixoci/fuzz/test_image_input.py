"""Images: descriptors, configs, manifests, and the values in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig, merge
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.healthcheck import parse_command, parse_duration
from nixoci.image.image import assemble, digest_of, parse_image, parse_layer_annotations
from nixoci.image.index.descriptor import any_descriptor_json, read_descriptor
from nixoci.image.index.image_index import index
from nixoci.image.index.platforms import parse_platform, platform_key, platform_name
from nixoci.image.manifest_format import DOCKER, OCI
from nixoci.image.reference import Reference
from nixoci.image.uncompressed import uncompressed
from nixoci.layering.previous_document import previous_layers

from tests.nixoci.fuzz.fuzz import fuzz, mutations
from tests.nixoci.image.layout_support import known_image, known_index

_KNOWN = known_image(b"one", b"two")
_DESCRIPTOR = descriptor_json(_KNOWN.image, _KNOWN.recipes, references=(Reference("acme/api", "1"),))
_KNOWN_INDEX = known_index({"linux/amd64": [b"one"], "linux/arm/v7": [b"one", b"two"]}, {"a": "b"})
_INDEX_DESCRIPTOR = any_descriptor_json(_KNOWN_INDEX.image, _KNOWN_INDEX.recipes)
_EXECUTION = {
    "Entrypoint": ["/bin/x"],
    "Cmd": None,
    "Env": ["PATH=/bin", "A="],
    "ExposedPorts": {"80/tcp": {}, "8000-8010/udp": {}},
    "Volumes": {"/data": {}},
    "Labels": {"a": "b"},
    "User": "1:2",
    "WorkingDir": "/",
    "StopSignal": "SIGRTMIN+3",
    "Healthcheck": {"Test": ["CMD", "x"], "Interval": 10**9, "Retries": 3},
    "OnBuild": [{"a": [1, 2.5]}],
}
_CONFIG = {
    **{"architecture": "arm64", "variant": "v8", "os": "linux", "os.version": "1", "author": "a"},
    **{"created": "2024-02-29T12:00:00.5+01:00", "config": _EXECUTION, "x": {"y": [None]}},
}
_CONFIGS = [json.dumps(config).encode() for config in (_CONFIG, _EXECUTION, {"entrypoint": ["a"]})]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_descriptors(seed: int) -> None:
    """What is taken for one is written as the same, and has the digests of its parts."""

    def check(data: bytes) -> None:
        found = Descriptor.from_json(data)
        written = descriptor_json(found.image, found.recipes, references=found.references)
        assert Descriptor.from_json(written) == found
        uncompressed(found.image)

    fuzz(check, (_DESCRIPTOR,), seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_descriptors_of_indexes(seed: int) -> None:
    """As those of images."""

    def check(data: bytes) -> None:
        found = read_descriptor(data)
        written = any_descriptor_json(found.image, found.recipes, references=found.references)
        assert read_descriptor(written) == found

    fuzz(check, (_INDEX_DESCRIPTOR,), seed)


def test_platforms() -> None:
    """What is taken for one has a name by which it is the same platform."""

    def check(data: bytes) -> None:
        found = parse_platform(data.decode(errors="replace"))
        assert platform_key(parse_platform(platform_name(found))) == platform_key(found)

    fuzz(check, (b"linux/amd64", b"linux/arm/v7", b"linux/arm64/v8.2"), 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_configs(seed: int) -> None:
    """What is taken for one makes an image, which a descriptor can hold."""
    recipes, layers = _KNOWN.recipes, _KNOWN.image.layers
    plain = ImageConfig(architecture="amd64")

    def check(data: bytes) -> None:
        config = merge(plain, ImageConfig.from_json(data))
        image = assemble(config, layers)
        assert Descriptor.from_json(descriptor_json(image, recipes)).image == image
        written = config.to_document()
        assert ImageConfig.from_json(json.dumps(written).encode()).to_document() == written
        assert image.has_healthcheck in (True, False)

    fuzz(check, _CONFIGS, seed)


@pytest.mark.parametrize("format", [OCI, DOCKER])
def test_manifests(format: Any) -> None:
    """With the config that belongs to them or another one."""
    image = known_image(b"one", format=format).image
    fuzz(lambda data: parse_image(image.config, data), (image.manifest,), 1)
    fuzz(lambda data: parse_image(data, image.manifest), (image.config,), 2)
    fuzz(parse_layer_annotations, (image.manifest,), 3)

    def both(data: bytes) -> None:
        """The config may be any, and the manifest says so."""
        document = json.loads(image.manifest)
        document["config"].update(digest=digest_of(data), size=len(data))
        found = parse_image(data, json.dumps(document).encode())
        index([found])

    fuzz(both, (image.config,), 4)


def test_layers_of_earlier_images() -> None:
    paths = {"layers": [{"storePaths": [_KNOWN.recipes[0].paths[0]]}]}
    fuzz(previous_layers, (_DESCRIPTOR, json.dumps(paths).encode()), 1)


def test_commands_and_durations_of_healthchecks() -> None:
    corpus = [json.dumps(value).encode() for value in (["CMD", "x"], "1m30s", "1.5h", 10**9, "x y")]
    for number, data in enumerate(mutations(corpus, 1)):
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = data.decode("utf-8", "surrogateescape")
        for parse in (parse_command, lambda value: parse_duration("interval", value)):
            try:
                parse(value)
            except InvalidInputError:
                continue
            except Exception as error:
                raise AssertionError(f"input {number}: {data!r}: {error!r}") from error


@pytest.mark.parametrize("field", ["exposed_ports", "volumes", "env", "labels", "user", "created"])
def test_values_of_configs(field: str) -> None:
    def check(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        values: Any = {"labels": ((text, text),), "user": text, "created": text}
        config = ImageConfig(architecture="amd64", **{field: values.get(field, (text,))})
        assemble(config, _KNOWN.image.layers)

    corpus = (b"80", b"8000-8010/udp", b"/data", b"A=b", b"1:2", b"root", b"2024-02-29T12:00:00Z")
    fuzz(check, corpus, 1)
