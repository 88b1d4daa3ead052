"""Tests of `nixoci.registry.blob_homes`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.registry.blob_homes import BlobHomes, read_blob_homes, write_blob_homes

DIGEST = "sha256:" + "0" * 64


def test_what_is_learned_last_counts(tmp_path: Path) -> None:
    """From one file to the next; registries are told from each other."""
    file = str(tmp_path / "known.json")
    write_blob_homes(file, [("one.example", DIGEST, "a"), ("two.example:5000", DIGEST, "b/c")])
    write_blob_homes(file, [("one.example", DIGEST, "d")])
    homes = read_blob_homes(file)
    assert homes.find("one.example", DIGEST) == "d"
    assert homes.find("two.example:5000", DIGEST) == "b/c"
    assert homes.find("three.example", DIGEST) == ""
    assert BlobHomes.from_json(homes.to_json()).to_json() == homes.to_json()


def test_what_is_old_is_forgotten() -> None:
    homes = BlobHomes()
    for number in range(20_000):
        homes.note("one.example", f"sha256:{number:064}", "a")
    homes.note("one.example", f"sha256:{10_000:064}", "b")
    kept = BlobHomes.from_json(homes.to_json())
    assert kept.find("one.example", f"sha256:{10_000:064}") == "b"
    assert kept.find("one.example", f"sha256:{10_001:064}") == "a"
    assert kept.find("one.example", f"sha256:{9_999:064}") == ""


@pytest.mark.parametrize("data", [b"", b"[]", b'{"homes": [1]}', b'{"homes": ["../x y"]}'])
def test_other_files(tmp_path: Path, data: bytes) -> None:
    """Say nothing, and are replaced; what cannot be written is no error."""
    with pytest.raises(InvalidInputError):
        BlobHomes.from_json(data)
    file = tmp_path / "known.json"
    file.write_bytes(data)
    assert read_blob_homes(str(file)).find("one.example", DIGEST) == ""
    write_blob_homes(str(file), [("one.example", DIGEST, "a")])
    assert read_blob_homes(str(file)).find("one.example", DIGEST) == "a"
    write_blob_homes(os.path.join(file, "below"), [("one.example", DIGEST, "a")])
    assert read_blob_homes(str(tmp_path / "absent")).find("one.example", DIGEST) == ""
