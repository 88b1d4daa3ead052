"""Tests of `nixoci.registry.published_layers`: manifests that come from a registry, good and hostile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nixoci.errors import NixOciError
from nixoci.image.config import ImageConfig
from nixoci.image.image import LayerInImage, assemble
from nixoci.image.reference import Reference
from nixoci.image.store_path_annotation import STORE_PATHS
from nixoci.layer.layer import Layer
from nixoci.layering.previous_document import previous_layers
from nixoci.registry.published_layers import UnusableImageError, published_layers_json

from tests.nixoci.store.closure_support import store_path

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

REFERENCE = Reference("registry.example/acme/api", "1")
A, B, C = map(store_path, "abc")


def manifest(*layers: str | None) -> bytes:
    """The manifest of an image whose layers have these store paths; None for no annotation."""
    items = []
    for number, paths in enumerate(layers):
        digest = f"sha256:{number:064x}"
        annotations = () if paths is None else ((STORE_PATHS, paths),)
        items.append(LayerInImage(Layer(digest, number, digest), annotations=annotations))
    return assemble(ImageConfig(architecture="amd64"), items).manifest


GOOD = manifest(f"{A[11:]} {B[11:]}", None, C[11:])


def refused(data: bytes) -> str:
    with pytest.raises(UnusableImageError) as caught:
        published_layers_json(REFERENCE, data)
    message = str(caught.value)
    assert str(REFERENCE) in message and message.isprintable() and len(message) < 600
    return message


def test_the_layers_of_a_published_image() -> None:
    """They are what a split starts from; a layer without store paths is no part of one."""
    document = published_layers_json(REFERENCE, GOOD)
    assert json.loads(document) == {"layers": [{"storePaths": [A, B]}, {"storePaths": [C]}]}
    assert previous_layers(document) == ((A, B), (C,))
    assert document.endswith(b"}\n") and document.count(b"\n") > 5


def test_an_image_without_annotations() -> None:
    """The option that makes them is named."""
    for data in (manifest(None, None), manifest()):
        assert "[nix-images].annotate_layers" in refused(data)


@pytest.mark.parametrize(
    "media_type, expected",
    [
        ("application/vnd.oci.image.index.v1+json", "media type"),
        ("application/vnd.docker.distribution.manifest.v2+json", '`manifest_format="oci"`'),
        ("application/vnd.oci.artifact.manifest.v1+json", "converted by another tool"),
        (None, "media type None"),
        (["\x1b[31m" * 1000], "media type"),
    ],
)
def test_other_kinds_of_manifests(media_type: Any, expected: str) -> None:
    assert expected in refused(json.dumps({**json.loads(GOOD), "mediaType": media_type}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff\xfe",
        b"[" * 1_000_000,
        GOOD[:-1],
        GOOD.replace(A[11:].encode(), b"../../../../etc/passwd"),
        GOOD.replace(B[11:].encode(), A[11:].encode()),
        GOOD.replace(B[11:].encode(), b"x" * 3_000_000),
        GOOD.replace(B[11:].encode(), b"\\u001b[2J\\ud800"),
    ],
)
def test_hostile_manifests(data: bytes) -> None:
    """One short sentence that can be shown, whatever a registry sends."""
    refused(data)


@UNHURRIED
@given(st.data())
def test_no_changed_manifest_makes_anything_but_store_paths(data: st.DataObject) -> None:
    """With any part replaced by anything: layers of valid store paths, or a sentence."""
    document = json.loads(GOOD)
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    place[key] = data.draw(
        json_values | st.lists(json_values) | st.dictionaries(st.text(), json_values)
    )
    try:
        found = published_layers_json(REFERENCE, json.dumps(document).encode())
    except NixOciError as error:
        assert str(error).isprintable()
        return
    assert {path for layer in previous_layers(found) for path in layer} <= {A, B, C}
