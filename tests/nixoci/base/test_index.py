"""The image for a platform is found in an index, or it is said which there are."""

from __future__ import annotations

import json
from typing import Any, Optional

import pytest
from nixoci.base.errors import UnusableBaseError
from nixoci.base.index import choose_manifest, parse_index
from nixoci.errors import InvalidInputError
from nixoci.image.index.platforms import parse_platform

from tests.nixoci.base.base_support import OCI_INDEX, OCI_MANIFEST, named


def index(*platforms: str, media_type: Optional[str] = OCI_INDEX, **more: Any) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "digest": named(text),
                "size": 1,
                "platform": parse_platform(text).to_document(),
                **more,
            }
            for text in platforms
        ],
    }
    if media_type:
        document["mediaType"] = media_type
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "there, wanted, chosen",
    (
        (("linux/amd64", "linux/arm64"), "linux/arm64", "linux/arm64"),
        (("linux/amd64", "linux/arm64/v8"), "linux/arm64", "linux/arm64/v8"),
        (("linux/arm64",), "linux/arm64/v8", "linux/arm64"),
        (("linux/arm/v6", "linux/arm/v7"), "linux/arm", "linux/arm/v7"),
        (("linux/arm/v6", "linux/arm/v7"), "linux/arm/v6", "linux/arm/v6"),
        (("linux/arm/v6",), "linux/arm", "linux/arm/v6"),
        (("linux/arm64",), "linux/arm64/v9", "linux/arm64"),
        (("windows/amd64", "linux/amd64"), "linux/amd64", "linux/amd64"),
        (("linux/amd64/v3", "linux/amd64"), "linux/amd64", "linux/amd64"),
    ),
)
def test_choice(there: tuple[str, ...], wanted: str, chosen: str) -> None:
    listed = parse_index(index(*there, media_type=None))
    assert listed is not None
    assert choose_manifest(listed, parse_platform(wanted)).digest == named(chosen)


@pytest.mark.parametrize("wanted", ("linux/s390x", "linux/arm/v5", "windows/amd64"))
def test_a_platform_that_is_not_there(wanted: str) -> None:
    listed = parse_index(index("linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64"))
    with pytest.raises(UnusableBaseError) as caught:
        choose_manifest(listed or (), parse_platform(wanted))
    assert f"for {wanted}, only for linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64" in str(
        caught.value
    )


def test_an_index_in_an_index_and_attestations() -> None:
    nested = parse_index(index("linux/amd64", mediaType=OCI_INDEX))
    with pytest.raises(UnusableBaseError, match="an index again"):
        choose_manifest(nested or (), parse_platform("linux/amd64"))
    with pytest.raises(UnusableBaseError, match="there are indexes in its index"):
        choose_manifest(nested or (), parse_platform("linux/arm64"))
    annotations = {"vnd.docker.reference.type": "attestation-manifest"}
    assert parse_index(index("linux/amd64", annotations=annotations)) == ()
    (unknown,) = parse_index(index("unknown/unknown")) or ()
    assert unknown.platform is None


@pytest.mark.parametrize("content", (b"[]", b"x", index("linux/amd64", digest="sha256:x")))
def test_broken_documents(content: bytes) -> None:
    with pytest.raises(InvalidInputError):
        parse_index(content)


def test_what_is_no_index() -> None:
    assert parse_index(b'{"mediaType": "application/x", "manifests": 1}') is None
    assert parse_index(b'{"layers": []}') is None
