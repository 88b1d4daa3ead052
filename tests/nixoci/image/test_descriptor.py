"""Tests of `nixoci.image.descriptor`."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.image import assemble
from nixoci.image.reference import Reference
from nixoci.image.store_path_annotation import STORE_PATHS, store_path_annotation

from tests.nixoci.image.layout_support import known_image
from tests.nixoci.tar.tar_support import far_down

# A busy machine is no reason to fail: no example has a time limit.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KNOWN = known_image(b"one", b"two")
REFERENCES = (Reference("acme/api", "latest"), Reference("r.example:5000/acme/api", "1"))
DATA = descriptor_json(KNOWN.image, KNOWN.recipes, references=REFERENCES)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of everything in a JSON document."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = []
    for key, inner in items:
        found += [(*path, key), *places(inner, (*path, key))]
    return found


PLACES = places(json.loads(DATA))


def test_an_image_and_its_recipes_come_back() -> None:
    """The file alone is enough to push or write the image."""
    assert Descriptor.from_json(DATA) == Descriptor(KNOWN.image, KNOWN.recipes, REFERENCES)
    nameless = Descriptor.from_json(descriptor_json(KNOWN.image, KNOWN.recipes))
    assert nameless.references == ()


def test_annotations_of_layers_come_back() -> None:
    """They are in the manifest of the descriptor, and a changed one is another image."""
    annotated = [
        replace(item, annotations=store_path_annotation(recipe))
        for item, recipe in zip(KNOWN.image.layers, KNOWN.recipes)
    ]
    image = assemble(ImageConfig(architecture="amd64", cmd=("/bin/true",)), annotated)
    data = descriptor_json(image, KNOWN.recipes)
    assert Descriptor.from_json(data) == Descriptor(image, KNOWN.recipes)
    assert image.config == KNOWN.image.config and image.digest != KNOWN.image.digest
    document = json.loads(data)
    assert document["layers"] == json.loads(DATA)["layers"]
    document["manifest"]["layers"][0]["annotations"][STORE_PATHS] += "x"
    with pytest.raises(InvalidInputError, match="digest"):
        Descriptor.from_json(json.dumps(document).encode())


def test_what_scripts_read() -> None:
    """The places that documentation names."""
    document = json.loads(DATA)
    assert list(document) == [
        "schemaVersion",
        "digest",
        "size",
        "mediaType",
        "configDigest",
        "platform",
        "references",
        "layers",
        "manifest",
        "config",
    ]
    assert document["digest"] == KNOWN.image.digest
    assert document["size"] == len(KNOWN.image.manifest)
    assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert document["platform"] == {"architecture": "amd64", "os": "linux"}
    assert document["references"] == ["acme/api:latest", "r.example:5000/acme/api:1"]
    layer = document["layers"][1]
    assert layer["digest"] == layer["diffId"] == KNOWN.image.layers[1].layer.digest
    assert layer["size"] == 3
    assert layer["history"]["created_by"] == "layer 1"
    assert [entry["path"] for entry in layer["recipe"]["entries"]] == list(KNOWN.recipes[1].paths)
    assert DATA.startswith(b'{\n  "schemaVersion": 1,\n') and DATA.endswith(b"}\n")


@UNHURRIED
@given(st.sampled_from(PLACES), st.none() | st.booleans() | st.integers() | st.text() | st.just([]))
def test_no_changed_descriptor_is_taken_for_the_image(path: tuple, value: Any) -> None:
    """Whatever is changed: it is refused with a sentence, or the image is still the same."""
    document = json.loads(DATA)
    place = document
    for key in path[:-1]:
        place = place[key]
    is_same = json.dumps(place[path[-1]]) == json.dumps(value)
    place[path[-1]] = value
    try:
        parsed = Descriptor.from_json(json.dumps(document).encode())
        image, recipes = parsed.image, parsed.recipes
    except InvalidInputError:
        return
    assert image == KNOWN.image
    # Names and recipes are no part of the image's bytes, so no digest can vouch for them.
    assert is_same or path[0] == "references" or "recipe" in path


@pytest.mark.parametrize(
    "path, value, message",
    [
        (("schemaVersion",), 2, "this nixoci reads 1"),
        (("digest",), "sha256:" + "0" * 64, "digest of image descriptor"),
        (("size",), 1, "size of image descriptor"),
        (("platform",), {"os": "linux"}, "platform of image descriptor"),
        (("config", "author"), "mallory", "field digest"),
        (("manifest", "annotations"), {"a": "b"}, "digest of image descriptor"),
        (("layers", 1, "diffId"), "x", "diffId of layer 2 of the image descriptor"),
        (("layers", 1, "size"), 3.0, "size of layer 2"),
        (("layers", 1, "size"), float("nan"), "size of layer 2"),
        (("layers",), [], "the image has 2"),
        (("layers", 0, "recipe", "entries", 0, "path"), "/nix/store/../x", "store path"),
        (("references",), ["../x"], "registry '..'"),
        (("references",), ["latest:-"], "tag"),
        (("references",), "latest", "references"),
    ],
)
def test_what_is_changed_is_named(path: tuple, value: Any, message: str) -> None:
    """The error says which part does not fit."""
    document = copy.deepcopy(json.loads(DATA))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInputError) as caught:
        Descriptor.from_json(json.dumps(document).encode())
    assert message in str(caught.value)


@UNHURRIED
@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode))
def test_no_input_fails_in_another_way(data: bytes) -> None:
    """Every input is hostile until parsed."""
    with pytest.raises(InvalidInputError):
        Descriptor.from_json(data)


def test_a_recipe_too_few_is_refused() -> None:
    """A descriptor that could not be read again is not made."""
    with pytest.raises(InvalidInputError):
        descriptor_json(KNOWN.image, KNOWN.recipes[:1])


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_config_may_nest_comes_back(whole: bool) -> None:
    """Fields of others are kept as they are; whatever depth is taken of them is taken in the descriptor too."""
    taken = []
    for levels in range(100, 140):
        inner = "[" * levels + "]" * levels
        other = '"architecture": "amd64",' if whole else ""
        data = f'{{{other} "X": {inner}}}'.encode()
        try:
            config = ImageConfig.from_json(data)
        except InvalidInputError as error:
            assert "objects and lists are in one another" in str(error)
            continue
        taken.append(levels)
        image = assemble(replace(config, architecture="amd64"), KNOWN.image.layers)
        descriptor = far_down(lambda: descriptor_json(image, KNOWN.recipes), 500)
        assert far_down(lambda: Descriptor.from_json(descriptor), 500).image == image
    assert taken == list(range(100, taken[-1] + 1)) and taken[-1] < 130
