"""NAR hashes are those of Nix."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from nixoci.store.nar import NarError, nar_hash, read_nar

from tests.integration.support.tools import tool
from tests.nixoci.store.nar_support import hash_by_nix, hash_of_deep_tree
from tests.nixoci.tar.tar_support import (
    ODD_NAMES,
    File,
    Link,
    Node,
    far_down,
    few_descriptors,
    nodes,
    temporary_directory,
    write_deep_tree,
    write_tree,
)


def dump_by_nix(path: str) -> bytes:
    command = [tool("nix-store"), "--dump", path]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=nodes)
def test_hash_is_that_of_nix(node: Node) -> None:
    """Any tree has the NAR hash that `nix-hash` gives it."""
    with temporary_directory() as directory:
        write_tree(os.fsencode(f"{directory}/tree"), node)
        assert nar_hash(f"{directory}/tree") == hash_by_nix(f"{directory}/tree")


def test_size_is_that_of_the_dump(tmp_path: Path) -> None:
    """The size is that of what `nix-store --dump` writes, here for every odd name."""
    tree: Node = {
        b"files": {name: File(name) for name in ODD_NAMES},
        b"links": {name: Link(name) for name in ODD_NAMES},
        b"large": File(bytes(1_000_001), 0o555),
    }
    write_tree(os.fsencode(f"{tmp_path}/tree"), tree)
    nar = read_nar(f"{tmp_path}/tree")
    assert nar.size == len(dump_by_nix(f"{tmp_path}/tree"))
    assert nar.hash == hash_by_nix(f"{tmp_path}/tree")


def test_what_has_no_nar(tmp_path: Path) -> None:
    """A missing path and a pipe are errors that name the file."""
    with pytest.raises(NarError) as caught:
        nar_hash(f"{tmp_path}/missing")
    assert caught.value.file == f"{tmp_path}/missing"
    os.mkfifo(f"{tmp_path}/pipe")
    with pytest.raises(NarError) as caught:
        nar_hash(str(tmp_path))
    assert caught.value.file == f"{tmp_path}/pipe"


@pytest.mark.parametrize("levels", [60, 320, 1_900])
def test_a_deep_tree_has_the_hash_that_nix_gives_it(levels: int) -> None:
    """Whoever asks for it, and however few files may be open; also if a newer Nix would not take it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        tree = f"{directory}/t"
        write_deep_tree(tree, levels)
        try:
            with few_descriptors(50):
                found = far_down(lambda: nar_hash(tree))
            assert found == hash_of_deep_tree(levels)
            if levels < 64:
                assert found == hash_by_nix(tree)
        finally:
            subprocess.run(["rm", "-rf", tree], check=True)


def test_a_tree_that_no_path_leads_through(tmp_path: Path) -> None:
    """It has the hash that it has part by part: deeper than Nix takes, and the errors name the place."""
    tree = f"{tmp_path}/t"
    write_deep_tree(tree, 2_100, b"same")
    try:
        before = far_down(lambda: read_nar(tree))
        parent = os.open(tree, os.O_RDONLY)
        for _ in range(2_100):
            inner = os.open("d", os.O_RDONLY, dir_fd=parent)
            os.close(parent)
            parent = inner
        os.mkdir("e", dir_fd=parent)
        # Strings that are padded to eight bytes and have their length before them.
        words = ("entry", "(", "name", "e", "node", "(", "type", "directory", ")", ")")
        added = sum(8 + (len(word) + 7) // 8 * 8 for word in words)
        assert read_nar(tree).size == before.size + added
        os.mkfifo("pipe", dir_fd=parent)
        os.close(parent)
        with pytest.raises(NarError) as caught:
            nar_hash(tree)
        assert caught.value.file == tree + "/d" * 2_100 + "/pipe"
    finally:
        subprocess.run(["rm", "-rf", tree], check=True)
