"""`nix_image_index`: which images are in an index, and what is no index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nixoci.image.index.descriptor import IndexDescriptor, read_descriptor

from tests.pants_backend_nix.packager_support import Packager

_BUILD = """\
file(name="file", source="file.txt")
nix_layer(name="shared", contents={":file": "/shared"})
nix_image(name="api", layers=[":shared"], system=parametrize("x86_64-linux", "aarch64-linux"))
nix_image(name="amd", layers=[":shared"], system="x86_64-linux")
nix_image(name="arm", architecture="arm64")
nix_image(name="v8", architecture="arm64", variant="v8")
nix_image(name="v7", architecture="arm", variant="v7", contents={":file": "/file"})
nix_image(name="v6", architecture="arm", variant="v6")
nix_image(name="docker", architecture="s390x", manifest_format="docker")
nix_image(name="named", labels=parametrize(a={"a": "1"}, b={"a": "2"}))
"""


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(None, {"file.txt": "text"})


def _index(packager: Packager, images: list[str], fields: str = "") -> dict[str, Any]:
    build = f'{_BUILD}\nnix_image_index(name="image", images={images}, {fields})\n'
    document = packager.descriptor(build)
    found = read_descriptor(json.dumps(document).encode())
    assert isinstance(found, IndexDescriptor)
    return document


def _error(packager: Packager, images: list[str], fields: str = "", *options: str) -> str:
    build = f'{_BUILD}\nnix_image_index(name="image", images={images}, {fields})\n'
    return packager.error(build, options=options)


def _platforms(document: dict[str, Any]) -> list[str]:
    return [
        "/".join([entry["platform"]["architecture"], entry["platform"].get("variant", "")])
        for entry in document["index"]["manifests"]
    ]


def test_a_parametrized_image_stands_for_all_its_variants(packager: Packager) -> None:
    """However the same images are named, and in whatever order, it is the same index."""
    short = _index(packager, [":api"], 'repository="acme/api", image_tags=["1", "2"]')
    assert _platforms(short) == ["amd64/", "arm64/"]
    assert short["references"] == ["acme/api:1", "acme/api:2"]
    assert [image["references"] for image in short["images"]] == [[], []]
    for names in (
        [":api@system=aarch64-linux", ":api@system=x86_64-linux"],
        [":api@system=x86_64-linux", ":api"],
    ):
        assert _index(packager, names)["index"] == short["index"]
    mixed = _index(packager, [":v7", ":arm", ":v6", ":api@system=x86_64-linux"], 'annotations={"a": "1"}')
    assert _platforms(mixed) == ["amd64/", "arm/v6", "arm/v7", "arm64/"]
    assert mixed["index"]["annotations"] == {"a": "1"}
    # That is another index.
    assert mixed["digest"] != _index(packager, [":v7", ":arm", ":v6", ":amd"])["digest"]


def test_images_are_dependencies(packager: Packager) -> None:
    found = packager.dependencies(f'{_BUILD}\nnix_image_index(name="image", images=[":api", ":v7"])\n')
    assert found == {":api@system=aarch64-linux", ":api@system=x86_64-linux", ":v7"}


@pytest.mark.parametrize(
    "images, text",
    [
        (
            [":api", ":amd"],
            "The field `images` of DIR:image names two images for linux/amd64, between which no engine could choose: "
            "DIR:api@system=x86_64-linux and DIR:amd. Leave one of them out, or give it another platform",
        ),
        ([":arm", ":v8"], "two images for linux/arm64/v8, between which no engine could choose: DIR:arm and DIR:v8"),
        ([":named"], "choose: DIR:named@labels=a and DIR:named@labels=b"),
        ([":amd", ":shared"], "names DIR:shared, which is a `nix_layer`. Name `nix_image` targets."),
        (
            [":amd", ":docker"],
            'names DIR:docker, whose manifest is of Docker\'s format, and an index has OCI manifests. Set `manifest_format="oci"` on '
            "DIR:docker",
        ),
        ([], "The field `images` of DIR:image is empty. Name `nix_image` targets, one for each platform."),
        ([":missing"], "missing"),
    ],
)
def test_what_is_no_index(packager: Packager, images: list[str], text: str) -> None:
    """Every error names the target, the field and the way out."""
    assert text in _error(packager, images)


def test_a_format_that_has_no_index(packager: Packager) -> None:
    """By the option for all images; and one that has images of one platform only."""
    text = _error(packager, [":amd"], "", "--nix-images-manifest-format=docker")
    assert "names DIR:amd, whose manifest is of Docker's format" in text
    text = _error(packager, [":amd"], 'output_format="docker-archive"')
    assert 'The field `output_format` of DIR:image is "docker-archive"' in text
    assert 'Set it to "oci-archive", or set it on one of the images' in text
