"""How layers are compressed, as data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nixoci.compression.formats import FORMATS, Compression
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig
from nixoci.image.image import LayerInImage, assemble, parse_image, with_layers
from nixoci.image.uncompressed import uncompressed
from nixoci.layer.layer import MEDIA_TYPE_LAYER_TAR, Layer

ZSTD = Compression.create("zstd")
ONE, TWO = ("sha256:" + digit * 64 for digit in "12")
PLAIN = Layer(ONE, 7, ONE)
SMALL = Layer(TWO, 5, ONE, ZSTD.media_type, ZSTD, 7)


@pytest.mark.parametrize("name", FORMATS)
def test_defaults(name: str) -> None:
    """A format alone is enough, and says the rest."""
    compression = Compression.create(name)
    known = FORMATS[name]
    assert (compression.level, compression.chunk_size) == (known.default_level, known.chunk_size)
    assert compression.media_type == f"application/vnd.oci.image.layer.v1.tar+{name}"
    assert Compression.create(name, 9, "x 1").compressor == "x 1"
    assert Compression.from_document(compression.to_document()) == compression


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "lz4"}, "none, gzip, zstd"),
        ({"level": 0}, "1 to 22"),
        ({"level": 23}, "1 to 22"),
        ({"level": "3"}, "level"),
        ({"level": True}, "level"),
        ({"chunkSize": 0}, "64 KiB"),
        ({"chunkSize": 1 << 40}, "1 GiB"),
        ({"compressor": None}, "compressor"),
    ],
    ids=str,
)
def test_what_is_refused(change: dict[str, Any], words: str) -> None:
    """Whatever the value is that does not fit, the error names it."""
    with pytest.raises(InvalidInputError, match=words):
        Compression.from_document({**ZSTD.to_document(), **change})


def test_json_of_layers() -> None:
    """A layer comes back; one that is not compressed has the same four fields as ever."""
    assert Layer.from_json(SMALL.to_json()) == SMALL
    assert Layer.from_json(PLAIN.to_json()) == PLAIN
    assert PLAIN.to_json() == (
        f'{{"diff_id":"{ONE}","digest":"{ONE}","media_type":"{MEDIA_TYPE_LAYER_TAR}","size":7}}'
    ).encode()


def test_a_layer_that_nobody_can_make() -> None:
    """A media type alone does not say how the blob was made."""
    unknown = replace(SMALL, compression=None, tar_size=None)
    with pytest.raises(InvalidInputError, match="nothing says how"):
        unknown.uncompressed()
    assert SMALL.uncompressed() == PLAIN
    assert PLAIN.uncompressed() is PLAIN


def test_an_image_remembers_how_its_layers_are_made() -> None:
    """The manifest has digest, size and media type; the image knows the rest."""
    config = ImageConfig(architecture="amd64")
    image = assemble(config, [LayerInImage(PLAIN), LayerInImage(SMALL)], {"a": "b"})
    assert [item.layer for item in image.layers] == [PLAIN, SMALL]
    assert image.is_compressed
    read = parse_image(image.config, image.manifest)
    assert read.layers[1].layer == replace(SMALL, compression=None, tar_size=None)
    assert with_layers(read, [PLAIN, SMALL]) == image
    with pytest.raises(InvalidInputError, match="not that of the manifest"):
        with_layers(read, [PLAIN, replace(SMALL, size=6)])
    with pytest.raises(InvalidInputError, match="the layer is"):
        with_layers(read, [PLAIN, replace(SMALL, compression=Compression.create("gzip"))])

    plain = uncompressed(image)
    assert plain.config == image.config and plain.digest != image.digest
    assert plain == assemble(config, [LayerInImage(PLAIN)] * 2, {"a": "b"})
    assert uncompressed(plain) is plain and not plain.is_compressed


def test_annotations_stay_on_uncompressed_layers() -> None:
    """An annotated image that is not compressed is what an engine gets, under its own digest."""
    config = ImageConfig(architecture="amd64")
    notes = (("a", "1"),)
    image = assemble(config, [LayerInImage(SMALL, annotations=notes), LayerInImage(PLAIN)])
    plain = uncompressed(image)
    assert plain == assemble(config, [LayerInImage(PLAIN, annotations=notes), LayerInImage(PLAIN)])
    assert uncompressed(plain) is plain
