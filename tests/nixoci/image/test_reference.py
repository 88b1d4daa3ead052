"""Tests of `nixoci.image.reference`."""

from __future__ import annotations

import pytest
from nixoci.errors import InvalidInputError
from nixoci.image.reference import Reference


@pytest.mark.parametrize(
    "text, repository, tag, full_name",
    [
        ("api", "api", "latest", "docker.io/library/api:latest"),
        ("acme/api:1.2", "acme/api", "1.2", "docker.io/acme/api:1.2"),
        ("ghcr.io/acme/api", "ghcr.io/acme/api", "latest", "ghcr.io/acme/api:latest"),
        ("localhost/api:a", "localhost/api", "a", "localhost/api:a"),
        ("host:5000/a/b__c-d:x_Y", "host:5000/a/b__c-d", "x_Y", "host:5000/a/b__c-d:x_Y"),
        ("h:65535/a", "h:65535/a", "latest", "h:65535/a:latest"),
        ("[::1]:5000/a:b", "[::1]:5000/a", "b", "[::1]:5000/a:b"),
    ],
)
def test_references_that_are_valid(text: str, repository: str, tag: str, full_name: str) -> None:
    """Repository, tag and the name with the registry, as Docker reads them."""
    reference = Reference.parse(text)
    assert (reference.repository, reference.tag) == (repository, tag)
    assert reference.full_name == full_name
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "Api",
        "a//b",
        "/a",
        "a/",
        "a..b",
        "a:",
        "a:-x",
        "a:" + "x" * 129,
        "a b",
        "a\n",
        "a:b\n",
        "ho_st:1/a",
        "localhost:0/a",
        "host:65536/a",
        "host:99999/a",
        "l" * 64 + ".example/a",
        "[::1::2]:5000/a",
        "[abc]/a",
        "host:x/a",
        "a@sha256:" + "0" * 64,
        "0" * 64,
        "a/" * 128 + "a",
    ],
)
def test_references_that_are_refused(text: str) -> None:
    """What a registry or an engine would refuse is refused before anything is written."""
    with pytest.raises(InvalidInputError):
        Reference.parse(text)
