"""How the layers of an image are compressed: fields and options."""

from __future__ import annotations

from typing import Any

import pytest
from nixoci.compression.compressor import CompressorError
from nixoci.compression.formats import Compression
from pants.engine.addresses import Address

from pants_backend_nix.errors import explain_step_error
from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
let text = name: attributes: script: derivation (attributes // {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" script ];
}); in rec {
  base = text "base" { } "echo base > $out";
  user = text "user" { inherit base; } "echo $base > $out";
}
"""

_BUILD = """
nix_package(name="base", source="default.nix", attr="base")
nix_package(name="user", source="default.nix", attr="user", reproducible={reproducible})
nix_layer(name="layer", packages=[":base"])
nix_image(name="image", layers=[":layer"], packages=[":user"], nix_database=True, {fields})
"""


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"default.nix": _NIX})


def layers(
    packager: Packager, fields: str, *options: str, reproducible: bool = True
) -> list[dict[str, Any]]:
    build = _BUILD.format(fields=fields, reproducible=reproducible)
    found: list[dict[str, Any]] = packager.descriptor(build, options=options)["layers"]
    return found


@pytest.mark.parametrize(
    ("fields", "options", "expected"),
    [
        ("", (), None),
        ('compression="none"', ("--nix-images-compression=zstd",), None),
        ('compression="zstd"', (), Compression.create("zstd")),
        ('compression="zstd", compression_level=7', (), Compression.create("zstd", 7)),
        ('compression="gzip"', ("--nix-images-compression=zstd",), Compression.create("gzip")),
        # The level of the options is that of their format.
        (
            'compression="gzip"',
            ("--nix-images-compression=zstd", "--nix-images-compression-level=19"),
            Compression.create("gzip"),
        ),
        (
            "",
            ("--nix-images-compression=zstd", "--nix-images-compression-level=19"),
            Compression.create("zstd", 19),
        ),
        ("compression_level=9", ("--nix-images-compression=gzip",), Compression.create("gzip", 9)),
    ],
)
def test_all_layers_are_compressed_alike(
    packager: Packager, fields: str, options: tuple[str, ...], expected: Compression | None
) -> None:
    """Those of a layer below, the image's own and that of the database."""
    plain = layers(packager, "")
    found = layers(packager, fields, *options)
    assert [layer["diffId"] for layer in found] == [layer["digest"] for layer in plain]
    for layer, tar in zip(found, plain):
        assert layer["recipe"] == tar["recipe"]
        if expected is None:
            assert layer == tar
        else:
            facts = {**expected.to_document(), "tarSize": tar["size"]}
            assert layer["compression"] == facts
            assert layer["mediaType"] == expected.media_type


def test_layers_that_are_kept(packager: Packager) -> None:
    """They are compressed like all others, and come to the same blobs."""
    for name in ("gzip", "zstd"):
        fields = f'compression="{name}"'
        kept = layers(packager, fields, reproducible=False)
        assert [(layer["digest"], layer["compression"]) for layer in kept] == [
            (layer["digest"], layer["compression"]) for layer in layers(packager, fields)
        ]


def test_bad_levels(packager: Packager) -> None:
    """The error names target and fields, or options, and what is possible."""
    fields = 'compression="gzip", compression_level=13'
    text = packager.error(_BUILD.format(fields=fields, reproducible=True))
    assert "fields `compression` and `compression_level` of DIR:image" in text
    assert "gzip has 1 to 12" in text
    text = packager.error(_BUILD.format(fields="compression_level=3", reproducible=True))
    assert "DIR:image: there is a level, 3, and nothing is compressed" in text
    text = packager.error(
        _BUILD.format(fields="", reproducible=True),
        options=("--nix-images-compression=zstd", "--nix-images-compression-level=99"),
    )
    assert "options `[nix-images].compression` and `compression_level`" in text
    assert "zstd has 1 to 22" in text


def test_no_compressor() -> None:
    """The error says which compressor is missing, where, and how a plugin gets it."""
    error = CompressorError("zstandard 0.25.0 (zstd 1.5.7)", None)
    facts = {"error": "CompressorError", "message": str(error)}
    text = str(explain_step_error(facts, "", "Digest layer of base", [Address("app")]))
    assert text.startswith("Digest layer of base failed: The bytes of a compressed layer")
    assert "zstandard 0.25.0" in text and "it is not installed here" in text
    assert "`pants-backend-nix[compression]`" in text and "`[GLOBAL].plugins`" in text
