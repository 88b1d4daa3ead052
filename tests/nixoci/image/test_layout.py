"""Tests of `nixoci.image.layout` and `nixoci.image.archive`: what is written when all goes well."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from nixoci.atomic import OutputError
from nixoci.errors import InvalidInputError
from nixoci.image.archive import _header, write_docker_archive, write_oci_archive
from nixoci.image.layout import write_oci_layout
from nixoci.image.manifest_format import DOCKER, MANIFEST_FORMATS, ManifestFormat
from nixoci.image.reference import Reference

from tests.nixoci.image.layout_support import CHUNK_SIZE, known_image, sha256, tree

WRITERS = [write_oci_layout, write_oci_archive, write_docker_archive]
REFERENCES = (Reference("acme/api", "latest"), Reference("ghcr.io/x/api", "latest"))


def archive_tree(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {}
        for member in archive:
            assert (member.mtime, member.uid, member.gid) == (1, 0, 0)
            assert member.isfile() or member.isdir()
            file = archive.extractfile(member)
            if file is not None:
                assert member.name not in files
                files[member.name] = file.read()
        return files


def test_layout_has_what_the_spec_says(tmp_path: Path) -> None:
    """The version file, the index that names the image, and each blob under its digest, once."""
    known = known_image(b"one", b"two" * 50_000, b"one")
    write_oci_layout(
        str(tmp_path / "out"), known.image, known.recipes, known.write_layer, REFERENCES
    )
    files = tree(tmp_path / "out")
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    manifests = json.loads(files.pop("index.json"))["manifests"]
    assert [(m["digest"], m["size"]) for m in manifests] == [
        (known.image.digest, len(known.image.manifest))
    ] * 2
    assert [m["annotations"] for m in manifests] == [
        {
            "org.opencontainers.image.ref.name": "latest",
            "io.containerd.image.name": "docker.io/acme/api:latest",
        },
        {
            "org.opencontainers.image.ref.name": "ghcr.io/x/api:latest",
            "io.containerd.image.name": "ghcr.io/x/api:latest",
        },
    ]
    blobs = (known.image.config, known.image.manifest, b"one", b"two" * 50_000)
    assert files == {f"blobs/{sha256(blob).replace(':', '/')}": blob for blob in blobs}
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_archives_hold_the_layout(tmp_path: Path) -> None:
    """An OCI archive is the layout in a tar."""
    known = known_image(b"one", b"two" * 50_000, b"one")
    write_oci_layout(str(tmp_path / "out"), known.image, known.recipes, known.write_layer, REFERENCES)
    write_oci_archive(
        str(tmp_path / "out.tar"), known.image, known.recipes, known.write_layer, REFERENCES
    )
    assert archive_tree((tmp_path / "out.tar").read_bytes()) == tree(tmp_path / "out")


@pytest.mark.parametrize("format", MANIFEST_FORMATS.values(), ids=MANIFEST_FORMATS)
def test_docker_archives_hold_no_layout(tmp_path: Path, format: ManifestFormat) -> None:
    """Only what Docker reads: its description, config and layers, once each, and no manifest. So it is
    the same whatever format the image's manifest has."""
    known = known_image(b"one", b"two" * 50_000, b"one", format=format)
    path = tmp_path / "out"
    write_docker_archive(str(path), known.image, known.recipes, known.write_layer, REFERENCES)
    files = archive_tree(path.read_bytes())
    (description,) = json.loads(files.pop("manifest.json"))
    assert files[description["Config"]] == known.image.config
    assert [files[path] for path in description["Layers"]] == [b"one", b"two" * 50_000, b"one"]
    assert description["RepoTags"] == ["acme/api:latest", "ghcr.io/x/api:latest"]
    assert set(files) == {description["Config"], *description["Layers"]}


@pytest.mark.parametrize("writer", [write_oci_layout, write_oci_archive])
def test_layouts_hold_oci_manifests(tmp_path: Path, writer) -> None:
    """The spec knows no others, and the way out is named; what was there stays."""
    (tmp_path / "out").write_bytes(b"precious")
    known = known_image(b"one", format=DOCKER)
    with pytest.raises(InvalidInputError) as caught:
        writer(str(tmp_path / "out"), known.image, known.recipes, known.write_layer)
    assert "manifest format 'docker' is not valid: an OCI image layout has OCI manifests" in str(caught.value)
    assert 'write a docker-archive, or take the format "oci"' in str(caught.value)
    assert tree(tmp_path) == {"out": b"precious"} and known.written == []


@pytest.mark.parametrize(
    "writer, expected",
    [
        (write_oci_archive, "10ae6af427d4047c94c2877e3715530d9db70d698a9f3675865ecb68f191b364"),
        (write_docker_archive, "8fb9f994065343d3ca0b71add1408e031a57236e1b5752f70ff6f028c7d0380d"),
    ],
)
def test_archives_are_the_same_everywhere(tmp_path: Path, writer, expected: str) -> None:
    """The bytes do not depend on umask, on what was there, or on the version of Python."""
    known = known_image(b"one", b"two")
    path = tmp_path / "out.tar"
    path.write_bytes(b"old" * 10_000)
    mask = os.umask(0o077)
    try:
        writer(str(path), known.image, known.recipes, known.write_layer, REFERENCES)
    finally:
        os.umask(mask)
    assert sha256(path.read_bytes()) == f"sha256:{expected}"


def test_layers_of_8_gib_and_more_have_a_header() -> None:
    """Old headers end at 8 GiB; the bytes of the newer one do not depend on Python's version."""
    header = _header("blobs/sha256/" + "0" * 64, size=9 << 30)
    with tarfile.open(fileobj=io.BytesIO(header)) as archive:
        member = archive.next()
    assert (member.name, member.size) == ("blobs/sha256/" + "0" * 64, 9 << 30)
    assert (
        sha256(header)
        == "sha256:ec724294297acc3161caf4a2aa0cf7af87d8941c4eb521f482d307ea04673ddc"
    )


def test_outputs_have_the_modes_of_other_programs(tmp_path: Path) -> None:
    """What a build makes can be read by those that the user's umask lets read."""
    known = known_image(b"one")
    mask = os.umask(0o022)
    try:
        for writer in WRITERS:
            writer(
                str(tmp_path / writer.__name__), known.image, known.recipes, known.write_layer
            )
    finally:
        os.umask(mask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes["write_oci_layout"] == modes["blobs"] == 0o755
    assert modes["index.json"] == modes["write_oci_archive"] == 0o644
    assert {modes[item.layer.digest[7:]] for item in known.image.layers} == {0o644}


@pytest.mark.parametrize("writer", WRITERS)
def test_memory_does_not_grow_with_the_layer(tmp_path: Path, writer) -> None:
    """What is streamed is not kept."""
    known = known_image(bytes(64 << 20))
    tracemalloc.start()
    try:
        writer(str(tmp_path / "out"), known.image, known.recipes, known.write_layer)
        writer(str(tmp_path / "out"), known.image, known.recipes, known.write_layer)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_layout_takes_over_verified_blobs(tmp_path: Path) -> None:
    """A layer that the old layout has needs no store; one that is spoilt there is streamed."""
    first = known_image(b"kept", b"spoilt", b"shorter", b"gone")
    out = tmp_path / "out"
    write_oci_layout(str(out), first.image, first.recipes, first.write_layer)
    blobs = [out / "blobs" / "sha256" / i.layer.digest[7:] for i in first.image.layers]
    blobs[1].write_bytes(b"SPOILT")
    blobs[2].write_bytes(b"")
    second = known_image(b"kept", b"spoilt", b"shorter", b"new")
    write_oci_layout(str(out), second.image, second.recipes, second.write_layer)
    assert second.written == [sha256(b"spoilt"), sha256(b"shorter"), sha256(b"new")]
    files = tree(out)
    assert {f"blobs/{sha256(content).replace(':', '/')}" for content in files.values()} >= {
        name for name in files if name.startswith("blobs")
    }
    assert len(files) == 2 + 2 + 4 and not blobs[3].exists()


def test_layout_does_not_take_over_links(tmp_path: Path) -> None:
    """A symbolic link in an old layout could change what is behind it later."""
    # As long as the link's target, which is what the size of a link is.
    content = b"x" * len(str(tmp_path / "elsewhere"))
    known = known_image(content)
    out = tmp_path / "out"
    write_oci_layout(str(out), known.image, known.recipes, known.write_layer)
    blob = out / "blobs" / "sha256" / sha256(content)[7:]
    (tmp_path / "elsewhere").write_bytes(content)
    blob.unlink()
    blob.symlink_to(tmp_path / "elsewhere")
    write_oci_layout(str(out), known.image, known.recipes, known.write_layer)
    assert not blob.is_symlink() and blob.read_bytes() == content
    assert known.written == [sha256(content)] * 2


@pytest.mark.parametrize("kind", ["file", "directory", "project", "spoilt", "link"])
def test_layout_replaces_nothing_else(tmp_path: Path, kind: str) -> None:
    """A mistyped path deletes nothing."""
    known = known_image(b"one")
    out = tmp_path / "out"
    if kind == "file":
        out.write_bytes(b"precious")
    elif kind == "link":
        (tmp_path / "other").mkdir()
        out.symlink_to(tmp_path / "other")
    else:
        out.mkdir()
        (out / ("index.json" if kind == "spoilt" else "precious")).write_bytes(b"{}")
        if kind != "directory":
            (out / "oci-layout").write_bytes(
                b"{}" if kind == "spoilt" else b'{"imageLayoutVersion":"1.0.0"}'
            )
    before = tree(tmp_path)
    with pytest.raises(OutputError) as caught:
        write_oci_layout(str(out), known.image, known.recipes, known.write_layer)
    assert str(caught.value) == (
        f"{out} cannot be written: it exists and is no OCI image layout,"
        " so delete it or take another path."
    )
    assert tree(tmp_path) == before and known.written == []


def test_layout_fills_an_empty_directory(tmp_path: Path) -> None:
    """A directory that was made for the output is no obstacle, nor is a slash in the end."""
    known = known_image(b"one")
    (tmp_path / "out").mkdir()
    write_oci_layout(f"{tmp_path}/out/", known.image, known.recipes, known.write_layer)
    assert (tmp_path / "out" / "index.json").exists()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("content", [b"", b"short", b"x" * (CHUNK_SIZE + 1)])
def test_a_stream_of_another_size_is_an_error(tmp_path: Path, writer, content: bytes) -> None:
    """A layer that is longer or shorter than recorded would spoil what follows it in an archive."""
    known = known_image(b"expected")
    with pytest.raises(InvalidInputError) as caught:
        writer(
            str(tmp_path / "out"),
            known.image,
            known.recipes,
            lambda recipe, layer, write: write(memoryview(content)),
        )
    assert f"it has {len(content)} bytes and not 8" in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("writer", WRITERS)
def test_each_layer_needs_its_recipe(tmp_path: Path, writer) -> None:
    """A recipe too few is found before anything is written."""
    known = known_image(b"one", b"two")
    with pytest.raises(InvalidInputError):
        writer(str(tmp_path / "out"), known.image, known.recipes[:1], known.write_layer)
    assert os.listdir(tmp_path) == []
