"""Tests of `nixoci.report.summary`."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Optional

import pytest
from nixoci.image.config import ImageConfig
from nixoci.image.image import Image, LayerInImage, assemble
from nixoci.layer.layer import Layer
from nixoci.report.summary import ImageSummary, image_summary


def _image(*layers: str, cmd: str = "a") -> Image:
    """An image whose layers have as many megabytes as the last letter of their names says."""
    digests = [f"sha256:{sha256(name.encode()).hexdigest()}" for name in layers]
    made = [Layer(digest, int(name[-1]) * 10**6, digest) for digest, name in zip(digests, layers)]
    config = ImageConfig(architecture="amd64", cmd=(cmd,))
    return assemble(config, [LayerInImage(layer) for layer in made])


def _descriptor(image: Image) -> bytes:
    layers = [{"digest": item.layer.digest} for item in image.layers]
    return json.dumps({"digest": image.digest, "layers": layers}).encode()


@pytest.mark.parametrize(
    "before, expected",
    [
        (None, ""),
        (_image("x2", "y3"), "as before"),
        (_image("x2", "y3", cmd="b"), "all of them as before"),
        (_image("x2"), "new: 1 layer of 3.0 MB"),
        (_image("z1"), "new: 2 layers of 5.0 MB"),
        (_image(), "new: 2 layers of 5.0 MB"),
    ],
)
def test_what_is_new(before: Optional[Image], expected: str) -> None:
    image = _image("x2", "y3")
    summary = image_summary(image, None if before is None else _descriptor(before))
    assert summary == ImageSummary(
        image.digest, "2 layers of 5.0 MB", expected, has_new_layers=expected.startswith("new")
    )


def test_one_layer_and_none() -> None:
    assert image_summary(_image("x1")).contents == "1 layer of 1.0 MB"
    assert image_summary(_image()).contents == "0 layers of 0.0 MB"


@pytest.mark.parametrize(
    "before", [b"", b"\xff", b"[]", b'{"layers": [1]}', b'{"layers": [{}], "digest": ""}', b"[" * 9999]
)
def test_what_is_no_descriptor(before: bytes) -> None:
    """It may be another file at that place, or that of another version."""
    image = _image("x2")
    assert image_summary(image, before) == image_summary(image)


def test_a_layer_that_is_there_twice_is_new_once() -> None:
    image = _image("x2", "x2")
    summary = image_summary(image, _descriptor(_image("y1")))
    assert (summary.contents, summary.news) == ("2 layers of 4.0 MB", "new: 1 layer of 2.0 MB")
