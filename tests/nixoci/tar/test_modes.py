"""Modes in a layer are those that a NAR knows, or those of the disk in the dialect of nix2container."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from nixoci.recipe.layer import LayerRecipe, Owner, Permission
from nixoci.store.nar import nar_hash
from nixoci.tar.dialect import DIALECTS as WRITERS
from nixoci.tar.dialect import nar_mode
from nixoci.tar.errors import DuplicateDestinationError, UnsupportedFileTypeError
from nixoci.tar.output import BUFFER_SIZE, Output
from nixoci.tar.permissions import Headers
from nixoci.tar.walk import Walker

from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    as_in_nar,
    both,
    nodes,
    recipe_of,
    store_path,
    tar_bytes,
    temporary_directory,
    to_root,
    write_store,
)

ONE = store_path("one", "1")
TWO = store_path("two", "2")

#: Permission bits of a file on the disk, and in the layer.
FILES = [
    (0o444, 0o444),
    (0o555, 0o555),
    (0o644, 0o444),
    (0o600, 0o444),
    (0o666, 0o444),
    (0o755, 0o555),
    (0o700, 0o555),
    (0o500, 0o555),
    (0o4755, 0o555),
    (0o2555, 0o555),
    (0o4644, 0o444),
    # Only the owner's bit counts.
    (0o455, 0o444),
    (0o611, 0o444),
]


def modes(recipe: LayerRecipe, store_root: Path) -> dict[str, int]:
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(recipe, str(store_root)))) as archive:
        return {"/" + member.name.strip("/"): member.mode for member in archive.getmembers()}


@pytest.mark.parametrize("disk, layer", FILES)
def test_a_file_has_the_mode_of_its_nar(tmp_path: Path, disk: int, layer: int) -> None:
    """As a store path, below one, and at the root; its NAR hash is that of the usual mode."""
    store = str(tmp_path)
    tree: Node = {b"x": File(b"1", disk), "é".encode(): File(b"2", disk)}
    write_store(f"{store}/odd", {ONE: File(b"1", disk), TWO: tree})
    write_store(f"{store}/usual", {ONE: as_in_nar(File(b"1", disk)), TWO: as_in_nar(tree)})
    found = modes(both(recipe_of(ONE, TWO), to_root(TWO)), tmp_path / "odd")
    places = (str(ONE), f"{TWO}/x", f"{TWO}/é", "/x", "/é")
    assert {place: found[place] for place in places} == dict.fromkeys(places, layer)
    for path in (ONE, TWO):
        assert nar_hash(f"{store}/odd{path}") == nar_hash(f"{store}/usual{path}")


@pytest.mark.parametrize("disk", [0o555, 0o755, 0o700, 0o1777, 0o2755])
def test_a_directory_has_one_mode(tmp_path: Path, disk: int) -> None:
    """0555 in the store and 0755 at the root, whatever the disk says."""
    write_store(str(tmp_path), {ONE: {b"d": {b"f": File()}}, TWO: {b"d": {}, b"e": {}}})
    for place in (f"{ONE}/d", str(ONE), f"{TWO}/d"):
        os.chmod(f"{tmp_path}{place}", disk)
    found = modes(both(recipe_of(ONE), to_root(ONE, TWO)), tmp_path)
    assert (found[str(ONE)], found[f"{ONE}/d"]) == (0o555, 0o555)
    assert (found["/d"], found["/e"]) == (0o755, 0o755)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=nodes)
def test_trees_of_one_nar_give_one_layer(node: Node) -> None:
    """Of any tree: in the store, at the root, merged."""
    with temporary_directory() as odd, temporary_directory() as usual:
        write_store(odd, {ONE: node, TWO: {}})
        write_store(usual, {ONE: as_in_nar(node), TWO: {}})
        recipes = [recipe_of(ONE)]
        if isinstance(node, dict):
            recipes += [to_root(ONE), to_root(ONE, TWO), both(recipe_of(ONE), to_root(ONE))]
        for recipe in recipes:
            assert tar_bytes(recipe, odd) == tar_bytes(recipe, usual)


def test_trees_that_differ_in_modes_of_the_disk_only_are_merged(tmp_path: Path) -> None:
    """What has one NAR is the same; what has two is not."""
    write_store(
        str(tmp_path), {ONE: {b"etc": {b"x": File(b"1", 0o644)}}, TWO: {b"etc": {b"x": File(b"1")}}}
    )
    os.chmod(f"{tmp_path}{ONE}/etc", 0o700)
    merged = tar_bytes(to_root(ONE, TWO), str(tmp_path))
    assert merged == tar_bytes(to_root(TWO), str(tmp_path))
    with pytest.raises(DuplicateDestinationError):
        tar_bytes(to_root(ONE, TWO, dialect="nix2container"), str(tmp_path))
    os.chmod(f"{tmp_path}{ONE}/etc/x", 0o544)
    with pytest.raises(DuplicateDestinationError):
        tar_bytes(to_root(ONE, TWO), str(tmp_path))


def test_nix2container_takes_modes_of_the_disk(tmp_path: Path) -> None:
    """Twelve bits of files and directories, in the store and at the root."""
    tree: Node = {b"d": {b"x": File(b"", 0o644), b"y": File(b"", 0o4755)}}
    write_store(str(tmp_path), {ONE: tree, TWO: File(b"", 0o600)})
    os.chmod(f"{tmp_path}{ONE}/d", 0o2755)
    recipe = both(recipe_of(ONE, TWO, dialect="nix2container"), to_root(ONE))
    found = modes(recipe, tmp_path)
    for place in ("", str(ONE)):
        assert found[f"{place}/d"] == 0o2755
        assert (found[f"{place}/d/x"], found[f"{place}/d/y"]) == (0o644, 0o4755)
    assert found[str(TWO)] == 0o600


def test_permissions_apply_over_it(tmp_path: Path) -> None:
    """A mode that a permission gives is the one in the layer; of other permissions the NAR's stays."""
    write_store(str(tmp_path), {ONE: {b"a": File(b"", 0o644), b"b": File(b"", 0o755)}, TWO: {}})
    recipe = replace(
        both(recipe_of(ONE), to_root(ONE)),
        permissions=(Permission(".*/a", mode=0o4711), Permission("/b", uid=7)),
    )
    found = modes(recipe, tmp_path)
    assert (found["/a"], found[f"{ONE}/a"]) == (0o4711, 0o4711)
    assert (found["/b"], found[f"{ONE}/b"]) == (0o555, 0o555)


def test_nothing_else_of_the_disk_counts(tmp_path: Path) -> None:
    """Owners, times and hard links leave the bytes as they are."""
    tree: Node = {b"a": File(b"1"), b"b": File(b"1"), b"d": {b"c": File(b"1")}, b"l": Link(b"a")}
    write_store(str(tmp_path), {ONE: tree, TWO: tree})
    recipe = both(recipe_of(ONE), to_root(ONE, TWO))
    before = tar_bytes(recipe, str(tmp_path))
    top = f"{tmp_path}{ONE}"
    for directory in (top, f"{top}/d"):
        os.chmod(directory, 0o755)
    for name in ("b", "d/c"):
        os.unlink(f"{top}/{name}")
        os.link(f"{top}/a", f"{top}/{name}")
    for place in (f"{top}/a", f"{top}/d", f"{top}/l", top):
        os.utime(place, (5e8, 6e8), follow_symlinks=False)
        # Who is not root has other owners on the disk than in the layer anyway.
        if not os.geteuid():
            os.chown(place, 1234, 5678, follow_symlinks=False)
    assert os.stat(f"{top}/a").st_nlink == 3
    assert tar_bytes(recipe, str(tmp_path)) == before


@pytest.mark.parametrize("kind", ["named pipe", "socket"])
@pytest.mark.parametrize("recipe", [recipe_of(ONE), to_root(ONE), to_root(ONE, TWO)])
def test_kinds_that_no_nar_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: LayerRecipe, kind: str
) -> None:
    """With the store path and the file, unless it is excluded."""
    write_store(str(tmp_path), {ONE: {b"d": {b"f": File()}}, TWO: {b"d": {}}})
    os.chmod(f"{tmp_path}{ONE}/d", 0o755)
    # The address of a socket has little room.
    monkeypatch.chdir(f"{tmp_path}{ONE}/d")
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("odd")
    else:
        os.mkfifo("odd")
    with pytest.raises(UnsupportedFileTypeError) as caught:
        tar_bytes(recipe, str(tmp_path))
    error = caught.value
    assert (error.path, error.file, error.kind) == (ONE, "d/odd", kind)
    assert f"{ONE}/d/odd is a {kind}" in str(error)
    assert b"odd" not in tar_bytes(replace(recipe, excludes=("d/odd",)), str(tmp_path))


def test_a_device_is_refused() -> None:
    """One that every machine has, read as if it were in the store path."""

    def flush(full: memoryview) -> memoryview:
        return full

    output = Output(memoryview(bytearray(BUFFER_SIZE)), flush)
    headers = Headers(WRITERS["oci"], Owner(), ())
    walker = Walker(output, ONE, headers.encode_plain, file_mode=nar_mode)
    with pytest.raises(UnsupportedFileTypeError) as caught:
        walker.pack(b"x", "/dev/null", file="d/null")
    error = caught.value
    assert (error.path, error.file, error.kind) == (ONE, "d/null", "character device")
