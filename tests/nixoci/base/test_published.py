"""Tests of `nixoci.base.published`, with indexes as registries have them, good and hostile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nixoci.base.published import published_image
from nixoci.image.index.platforms import parse_platform
from nixoci.image.manifest_format import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST
from nixoci.image.reference import Reference
from nixoci.registry.published_layers import UnusableImageError

_NAME = Reference("registry.example/acme/api", "1")
_AMD = {"os": "linux", "architecture": "amd64"}
_ARM = {"os": "linux", "architecture": "arm64"}


def _index(*platforms: Any, media_type: str = MEDIA_TYPE_MANIFEST) -> bytes:
    entries = [
        {"mediaType": media_type, "digest": f"sha256:{number:064x}", "size": 7, "platform": platform}
        for number, platform in enumerate(platforms)
    ]
    return json.dumps({"mediaType": MEDIA_TYPE_INDEX, "manifests": entries}).encode()


@pytest.mark.parametrize("platform, number", (("linux/amd64", 0), ("linux/arm64", 1)))
def test_one_of_an_index(platform: str, number: int) -> None:
    found = published_image(_NAME, _index(_AMD, _ARM, None), parse_platform(platform))
    assert found == f"sha256:{number:064x}"


def test_an_image_is_itself() -> None:
    manifest = json.dumps({"mediaType": MEDIA_TYPE_MANIFEST, "layers": []}).encode()
    assert published_image(_NAME, manifest, None) is None
    with pytest.raises(UnusableImageError, match=f"{_NAME}.* leave --platform out"):
        published_image(_NAME, manifest, parse_platform("linux/amd64"))


@pytest.mark.parametrize(
    "index, platform, expected",
    (
        (_index(_AMD, _ARM), None, r"\(linux/amd64, linux/arm64\); choose one with --platform"),
        (_index(None), None, "which it does not say"),
        (_index(_AMD), "linux/arm64", "no image for linux/arm64, only for linux/amd64"),
        (_index(_AMD, media_type=MEDIA_TYPE_INDEX), "linux/amd64", "an index again"),
    ),
)
def test_none_of_an_index(index: bytes, platform: str | None, expected: str) -> None:
    """The error names the image, and what there is."""
    wanted = None if platform is None else parse_platform(platform)
    with pytest.raises(UnusableImageError, match=expected) as caught:
        published_image(_NAME, index, wanted)
    assert str(_NAME) in str(caught.value)


@pytest.mark.parametrize(
    "content", (b"", b"[]", b"\xff", _index({"os": 7}), _index(_AMD).replace(b"sha256:", b"md5:"))
)
def test_what_is_broken_is_for_its_reader(content: bytes) -> None:
    assert published_image(_NAME, content, parse_platform("linux/amd64")) is None
