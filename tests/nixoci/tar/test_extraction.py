"""What other programs make of the stream is the tree that it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from typing import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from nixoci.recipe.layer import DIALECTS, Owner
from nixoci.tar.dialect import DIALECTS as WRITERS
from nixoci.tar.header import REGULAR, USTAR_SIZE_LIMIT, owner_fields

from tests.integration.support.tools import tool
from tests.nixoci.tar.extraction_support import extract_with_gnu_tar, extract_with_tarfile
from tests.nixoci.tar.tar_support import (
    ODD_NAMES,
    File,
    Link,
    Node,
    as_in_nar,
    nodes,
    recipe_of,
    snapshot,
    store_path,
    tar_bytes,
    temporary_directory,
    write_store,
)

PATH = store_path("tree")
#: All odd names at once, as files, as directories with a file, and as links to one another.
ODD_TREE: Node = {
    b"files": {name: File(name, 0o555) for name in ODD_NAMES},
    b"directories": {name: {name: File(name), b"empty": {}} for name in ODD_NAMES},
    b"links": {name: Link(b"../files/" + name) for name in ODD_NAMES},
}


def extract_with_umoci(stream: bytes, target: str) -> str:
    os.makedirs(f"{target}/image/blobs/sha256")

    def blob(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{target}/image/blobs/sha256/{digest}", "wb") as file:
            file.write(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    prefix = "application/vnd.oci.image"
    layer = blob(stream, f"{prefix}.layer.v1.tar")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps(config).encode(), f"{prefix}.config.v1+json"),
        "layers": [layer],
    }
    entry = blob(json.dumps(manifest).encode(), f"{prefix}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "test"}
    for name, document in (
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        ("index.json", {"schemaVersion": 2, "manifests": [entry]}),
    ):
        with open(f"{target}/image/{name}", "w") as file:
            json.dump(document, file)
    command = [tool("umoci"), "unpack", "--image", f"{target}/image:test", f"{target}/bundle"]
    if os.geteuid():
        command.insert(2, "--rootless")
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return f"{target}/bundle/rootfs"


both_dialects = pytest.mark.parametrize("dialect", DIALECTS)
EXTRACTORS = [extract_with_gnu_tar, extract_with_tarfile, extract_with_umoci]
Extract = Callable[[bytes, str], str]


def assert_extracted_is_source(node: Node, extract: Extract, dialect: str) -> None:
    with temporary_directory() as source, temporary_directory() as target:
        write_store(source, {PATH: node})
        root = extract(tar_bytes(recipe_of(PATH, dialect=dialect), source), target)
        extracted = snapshot(os.fsencode(root + PATH))
        expected = node if dialect == "nix2container" else as_in_nar(node)
        with temporary_directory() as store:
            write_store(store, {PATH: expected})
            assert extracted == snapshot(os.fsencode(store + PATH))
        assert os.listdir(root) == ["nix"]
        for parent in ("/nix", "/nix/store"):
            assert os.lstat(root + parent).st_mode & 0o7777 == 0o755


@both_dialects
@pytest.mark.parametrize("extract", EXTRACTORS)
def test_every_odd_name_survives(extract: Extract, dialect: str) -> None:
    """Every name of the list, as file, directory and link, comes out as it went in."""
    assert_extracted_is_source(ODD_TREE, extract, dialect)


@both_dialects
@pytest.mark.parametrize("extract", EXTRACTORS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=nodes)
def test_extracted_tree_equals_source(extract: Extract, dialect: str, node: Node) -> None:
    """Names, types, link targets and bytes of any tree survive, and as much of modes as a NAR has."""
    assert_extracted_is_source(node, extract, dialect)


@both_dialects
@pytest.mark.parametrize("extract", EXTRACTORS)
def test_deep_nesting_survives(extract: Extract, dialect: str) -> None:
    """Paths far beyond the 256 bytes of ustar survive, with and without pax for the rest."""
    node: Node = {b"file": File(b"deep"), b"link": Link(b"l" * 300), b"empty": {}}
    for level in range(60):
        node = {b"level-%02d" % level: node}
    assert_extracted_is_source(node, extract, dialect)


@pytest.mark.parametrize("encode", [dialect.encode_header for dialect in WRITERS.values()])
@pytest.mark.parametrize("size", [USTAR_SIZE_LIMIT - 1, USTAR_SIZE_LIMIT, USTAR_SIZE_LIMIT + 1])
def test_files_of_8_gib_have_a_size_that_readers_understand(
    size: int, encode: Callable[..., bytes]
) -> None:
    """GNU tar and tarfile list a file of 8 GiB, and the one after it (the archive is sparse)."""
    fields = owner_fields(Owner())
    with temporary_directory() as directory:
        with open(f"{directory}/archive", "wb") as file:
            file.write(encode(b"large", REGULAR, 0o444, size, b"", fields))
            file.seek(size + -size % 512, os.SEEK_CUR)
            file.write(encode(b"after", REGULAR, 0o444, 0, b"", fields) + bytes(1024))
        with tarfile.open(f"{directory}/archive", "r:") as archive:
            members = [(member.name, member.size) for member in archive]
        command = [tool("tar"), "--list", "--verbose", "--file", f"{directory}/archive"]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    assert members == [("large", size), ("after", 0)]
    assert [(line.split()[-1], int(line.split()[2])) for line in lines.splitlines()] == members
