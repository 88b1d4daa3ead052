"""Tests of `nixoci.image.index`: indexes, their descriptors and forms, and which image a machine takes."""

from __future__ import annotations

import copy
import itertools
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nixoci.errors import InvalidInputError
from nixoci.image.archive import write_oci_archive
from nixoci.image.config import ImageConfig, Platform
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.image import assemble
from nixoci.image.index.descriptor import (
    IndexDescriptor,
    any_descriptor_json,
    descriptor_for,
    read_descriptor,
)
from nixoci.image.index.image_index import index, parse_index
from nixoci.image.index.platforms import (
    NoImageForPlatformError,
    machine_platform,
    parse_platform,
    platform_name,
    position_for,
)
from nixoci.image.layout import write_oci_layout
from nixoci.image.reference import Reference

from tests.nixoci.image.layout_support import known_image, known_index, sha256, tree

SHARED = b"shared" * 1000
KNOWN = known_index(
    {"linux/arm64": [SHARED, b"arm"], "linux/amd64": [SHARED, b"amd"]}, {"b": "2", "a": "1"}
)
REFERENCES = (Reference("acme/api", "latest"), Reference("r.example:5000/acme/api", "1"))
DATA = any_descriptor_json(KNOWN.image, KNOWN.recipes, references=REFERENCES)


def image(platform: str) -> Any:
    found = parse_platform(platform)
    return assemble(
        ImageConfig(architecture=found.architecture, os=found.os, variant=found.variant), ()
    )


def test_the_exact_bytes_of_an_index() -> None:
    """Canonical JSON, sorted by platform: its digest is published."""
    amd, arm = KNOWN.image.images
    assert KNOWN.image.content.decode() == (
        '{"annotations":{"a":"1","b":"2"},"manifests":['
        f'{{"digest":"{amd.digest}","mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"platform":{{"architecture":"amd64","os":"linux"}},"size":{len(amd.manifest)}}},'
        f'{{"digest":"{arm.digest}","mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"platform":{{"architecture":"arm64","os":"linux"}},"size":{len(arm.manifest)}}}],'
        '"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'
    )
    assert KNOWN.image.digest == sha256(KNOWN.image.content)
    assert parse_index(KNOWN.image.content, KNOWN.image.images) == KNOWN.image


def test_the_order_of_images_does_not_matter() -> None:
    """One index comes of it, in which the lowest variant comes before the others."""
    names = ["linux/arm/v6", "linux/arm64", "linux/386", "linux/arm/v7", "freebsd/amd64"]
    found = {
        index([image(name) for name in order], {"a": "1"})
        for order in itertools.permutations(names)
    }
    (one,) = found
    assert [platform_name(each.platform) for each in one.images] == [
        "freebsd/amd64",
        "linux/386",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm64",
    ]


@pytest.mark.parametrize(
    "one, two",
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/amd64", "linux/amd64/v1"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/riscv64/x", "linux/riscv64/x"),
    ],
)
def test_two_images_for_one_platform(one: str, two: str) -> None:
    """An engine could not choose between these. Between variants it can."""
    with pytest.raises(InvalidInputError, match="two of its images are for this platform"):
        index([image(one), image(two)])
    index([image(one), image("linux/arm/v5")])


def test_no_image_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="it has no image"):
        index([])


@pytest.mark.parametrize("annotations", [{"": "x"}, {"a": 1}, {"a": "\ud800"}])
def test_what_is_no_annotation_is_not_written(annotations: Any) -> None:
    with pytest.raises(InvalidInputError):
        index([image("linux/amd64")], annotations)


def test_an_index_and_its_recipes_come_back() -> None:
    """The file alone is enough to push or write the index; each image in it is a descriptor of its own."""
    found = read_descriptor(DATA)
    assert found == IndexDescriptor(KNOWN.image, KNOWN.recipes, REFERENCES)
    document = json.loads(DATA)
    assert list(document) == [
        *("schemaVersion", "mediaType", "digest", "size", "references", "index", "images"),
    ]
    assert document["digest"] == KNOWN.image.digest and document["size"] == len(KNOWN.image.content)
    assert document["references"] == [str(reference) for reference in REFERENCES]
    for each, expected in zip(document["images"], KNOWN.image.images):
        assert Descriptor.from_json(json.dumps(each).encode()).image == expected


def test_a_descriptor_of_an_image_is_read_as_one() -> None:
    known = known_image(b"one")
    data = descriptor_json(known.image, known.recipes, references=REFERENCES)
    assert read_descriptor(data) == Descriptor(known.image, known.recipes, REFERENCES)
    assert any_descriptor_json(known.image, known.recipes, references=REFERENCES) == data
    with pytest.raises(InvalidInputError, match="an index of images for several platforms; name that of"):
        Descriptor.from_json(DATA)


@pytest.mark.parametrize(
    "path, value",
    [
        (["schemaVersion"], 2),
        (["digest"], sha256(b"")),
        (["size"], 1),
        (["size"], True),
        (["index"], {}),
        (["index", "annotations", "a"], "2"),
        (["index", "annotations"], []),
        (["index", "x"], 1),
        (["index", "manifests", 0, "platform", "architecture"], "arm"),
        (["index", "manifests", 0, "digest"], sha256(b"")),
        (["images"], []),
        (["images", 0], 1),
        (["images", 0, "manifest", "annotations"], {"a": "b"}),
        (["images", 1, "mediaType"], "application/vnd.oci.image.index.v1+json"),
        (["references"], ["UPPER"]),
    ],
)
def test_what_does_not_fit_together_is_refused(path: list[Any], value: Any) -> None:
    document = copy.deepcopy(json.loads(DATA))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInputError):
        read_descriptor(json.dumps(document).encode())


def test_images_in_another_order_are_refused() -> None:
    """Recipes are told by the order of images, so it has to be that of the index."""
    document = json.loads(DATA)
    document["images"].reverse()
    with pytest.raises(InvalidInputError, match="not in the order of the index"):
        read_descriptor(json.dumps(document).encode())
    with pytest.raises(InvalidInputError, match="the images have 4 layers"):
        any_descriptor_json(KNOWN.image, KNOWN.recipes[:-1])


def test_layout_and_archive_have_all_images(tmp_path: Path) -> None:
    """One entry for each name, that of the index; every blob once, also what images share."""
    arguments = (KNOWN.image, KNOWN.recipes, KNOWN.write_layer, REFERENCES)
    KNOWN.written.clear()
    write_oci_layout(str(tmp_path / "out"), *arguments)
    assert sorted(KNOWN.written) == sorted(map(sha256, (SHARED, b"arm", b"amd")))
    files = tree(tmp_path / "out")
    entries = json.loads(files.pop("index.json"))["manifests"]
    facts = KNOWN.image.descriptor()
    assert [{key: entry[key] for key in facts} for entry in entries] == [facts] * 2
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries] == [
        *("latest", "1"),
    ]
    del files["oci-layout"]
    amd, arm = KNOWN.image.images
    blobs = [SHARED, b"amd", b"arm", KNOWN.image.content]
    blobs += [content for each in (amd, arm) for content in (each.config, each.manifest)]
    assert files == {f"blobs/{sha256(blob).replace(':', '/')}": blob for blob in blobs}
    write_oci_archive(str(tmp_path / "out.tar"), *arguments)
    with tarfile.open(tmp_path / "out.tar") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert tree(tmp_path / "unpacked") == tree(tmp_path / "out")
    # What is there already is taken over.
    KNOWN.written.clear()
    write_oci_layout(str(tmp_path / "out"), *arguments)
    assert KNOWN.written == []


@pytest.mark.parametrize(
    "wanted, expected",
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"),
        ("linux/amd64/v4", "linux/amd64/v3"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v8", "linux/arm/v7"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v5", None),
        ("linux/arm64/v9", "linux/arm64/v8"),
        ("linux/aarch64", "linux/arm64/v8"),
        ("linux/riscv64/rva20", "linux/riscv64/rva20"),
        ("linux/riscv64", None),
        ("linux/386", None),
        ("freebsd/amd64", None),
    ],
)
def test_which_image_a_machine_takes(wanted: str, expected: str | None) -> None:
    """The one for the highest variant that it runs; if there is none, it is said which there are."""
    names = ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/arm/v6", "linux/arm/v7"]
    names += ["linux/arm64/v8", "linux/riscv64/rva20"]
    platforms = [parse_platform(name) for name in names]
    if expected is None:
        with pytest.raises(NoImageForPlatformError) as caught:
            position_for(platforms, parse_platform(wanted))
        assert f"no image for {wanted} in the index, which has images for linux/amd64, " in str(caught.value)
        assert caught.value.platforms == tuple(names)
    else:
        assert names[position_for(platforms, parse_platform(wanted))] == expected


@pytest.mark.parametrize("text", ["", "linux", "linux/", "linux/a/b/c", "linux/a b", "linux//v7"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="such as linux/arm64"):
        parse_platform(text)


def test_the_descriptor_for_a_platform() -> None:
    """That of an image has the names of the index, and is what it is whatever it is for."""
    found = read_descriptor(DATA)
    arm = KNOWN.image.images[1]
    chosen = descriptor_for(found, Platform("linux", "arm64"))
    assert chosen == Descriptor(arm, KNOWN.recipes[2:], REFERENCES)
    assert descriptor_for(chosen, Platform("linux", "amd64")) is chosen
    with pytest.raises(NoImageForPlatformError, match=r"linux/s390x in the index, which has .* linux/arm64\."):
        descriptor_for(found, Platform("linux", "s390x"))


@pytest.mark.parametrize(
    "system, machine, expected",
    [
        ("Linux", "x86_64", "linux/amd64"),
        ("Linux", "armv7l", "linux/arm/v7"),
        ("Linux", "i686", "linux/386"),
        ("Linux", "s390x", "linux/s390x"),
        ("Darwin", "arm64", "linux/arm64"),
        ("FreeBSD", "amd64", "freebsd/amd64"),
    ],
)
def test_the_platform_of_a_machine(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, expected: str
) -> None:
    facts = os.uname_result((system, "node", "release", "version", machine))
    monkeypatch.setattr(os, "uname", lambda: facts)
    assert platform_name(machine_platform()) == expected


def test_platforms_have_names() -> None:
    assert platform_name(Platform("windows", "amd64", None, "10.0")) == "windows/amd64 (10.0)"
    assert platform_name(replace(Platform("linux", "arm"), variant="v7")) == "linux/arm/v7"
