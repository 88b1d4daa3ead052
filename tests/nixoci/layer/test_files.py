"""Layers of files: their tar, their digest, and what is found when their contents are other ones."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.compression.formats import Compression
from nixoci.layer.digest import digest_layer
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.source import LayerSource
from nixoci.layer.write import _sha256_of, write_layer
from nixoci.recipe.files import FileEntry, FilesRecipe, with_directories
from nixoci.recipe.layer import Owner
from nixoci.tar.capabilities import capability_value
from nixoci.tar.files import ContentsMissingError, ContentsReadError

APP = Owner(1000, 50, "app", "")
CODE = b"print('hello')\n" * 30_000
CONTENTS = {hashlib.sha256(data).hexdigest(): data for data in (CODE, b"", b"x" * 512)}


def file(path: str, data: bytes, mode: int = 0o444, owner: Owner = Owner()) -> FileEntry:
    return FileEntry(path, mode, owner, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


RECIPE = FilesRecipe(
    with_directories(
        [
            FileEntry("/tmp", 0o1777),
            FileEntry("/home/app", 0o700, APP),
            file("/app/api.pex", CODE, 0o555),
            file("/app/copy", CODE, 0o440, APP),
            file("/app/empty", b""),
            file("/app/" + "d" * 120 + "/" + "ü" * 60, b"x" * 512),
            FileEntry("/etc/passwd", 0o644, text="root:x:0:0::/root:/bin/sh\n"),
            FileEntry("/bin/sh", 0o777, target="/" + "l" * 130),
        ]
    )
)


@pytest.fixture
def contents(tmp_path: Path) -> str:
    """A directory with the contents by their digests, as the plugin makes it."""
    for name, data in CONTENTS.items():
        (tmp_path / name).write_bytes(data)
    return str(tmp_path)


def tar_of(contents: str, recipe: FilesRecipe = RECIPE) -> bytes:
    layer = digest_layer(recipe, contents=contents)
    written = io.BytesIO()
    assert write_layer(recipe, layer, written.write, contents=contents) == layer.size
    assert layer.digest == "sha256:" + hashlib.sha256(written.getvalue()).hexdigest()
    return written.getvalue()


def test_tar_has_what_the_recipe_says(contents: str) -> None:
    """As another reader of tar sees it: names, kinds, modes, owners, times, contents."""
    with tarfile.open(fileobj=io.BytesIO(tar_of(contents))) as tar:
        members = tar.getmembers()
        assert ["/" + member.name for member in members] == [e.path for e in RECIPE.entries]
        for member, entry in zip(members, RECIPE.entries):
            owner = Owner(member.uid, member.gid, member.uname, member.gname)
            assert (owner, member.mtime) == (entry.owner, 1)
            assert member.mode == (0o777 if entry.target else entry.mode)
            assert (member.isdir(), member.issym()) == (entry.is_directory, bool(entry.target))
            assert member.linkname == (entry.target or "")
            if member.isfile():
                found = tar.extractfile(member)
                expected = CONTENTS[entry.sha256] if entry.sha256 else (entry.text or "").encode()
                assert found is not None and found.read() == expected


def test_capabilities_are_an_attribute(contents: str) -> None:
    """The one in which the kernel looks for them; all else of the file is as without."""
    plain = file("/ping", CODE, 0o555)
    able = replace(plain, capabilities=("cap_net_raw",))
    found = []
    for entry in (plain, able):
        with tarfile.open(fileobj=io.BytesIO(tar_of(contents, FilesRecipe((entry,))))) as tar:
            (member,) = tar.getmembers()
            found.append((member.pax_headers, member.mode, member.size))
    value = capability_value(("cap_net_raw",)).decode("utf-8", "surrogateescape")
    assert found[0] == ({}, 0o555, len(CODE))
    assert found[1] == ({"SCHILY.xattr.security.capability": value}, 0o555, len(CODE))


def test_contents_may_be_at_their_places(contents: str, tmp_path: Path) -> None:
    """Whoever has no directory by digests gives one that looks like the image."""
    image = tmp_path / "image"
    for entry in RECIPE.entries:
        if entry.sha256:
            path = image / entry.path[1:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(CONTENTS[entry.sha256])
    assert tar_of(str(image)) == tar_of(contents)


def test_no_contents_are_needed_without_files() -> None:
    recipe = FilesRecipe((FileEntry("/tmp", 0o1777), FileEntry("/x", 0o644, text="é")))
    layer = digest_layer(recipe)
    assert write_layer(recipe, layer, lambda part: None) == layer.size


def test_files_that_are_nowhere() -> None:
    """The error says which, and how to give it."""
    with pytest.raises(ContentsMissingError, match="are in no Nix store. Give `--contents`"):
        digest_layer(RECIPE)


def test_files_that_are_not_in_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ContentsMissingError, match="are not in '/.*'app/api.pex'") as caught:
        digest_layer(RECIPE, contents=str(tmp_path))
    assert caught.value.path == "/app/api.pex"


def test_files_of_another_size(contents: str) -> None:
    (Path(contents) / hashlib.sha256(CODE).hexdigest()).write_bytes(CODE + b"#")
    with pytest.raises(ContentsReadError, match="the file is another one"):
        digest_layer(RECIPE, contents=contents)


def test_directory_in_place_of_a_file(contents: str) -> None:
    path = Path(contents) / hashlib.sha256(CODE).hexdigest()
    path.unlink()
    path.mkdir()
    with pytest.raises(ContentsReadError, match="cannot be read: Is a directory"):
        digest_layer(RECIPE, contents=contents)


@pytest.mark.parametrize("compression", [None, Compression.create("gzip", 1)])
def test_files_of_the_same_size_with_other_contents(contents: str, compression: object) -> None:
    """They never leave whole, and the error names them by their places in the image."""
    layer = digest_layer(RECIPE, contents=contents, compression=compression)  # type: ignore[arg-type]
    (Path(contents) / hashlib.sha256(CODE).hexdigest()).write_bytes(CODE[::-1])
    sent = bytearray()
    with pytest.raises(LayerMismatchError) as caught:
        write_layer(RECIPE, layer, sent.extend, contents=contents)
    assert caught.value.changed == ("/app/api.pex", "/app/copy")
    assert "package the image again" in str(caught.value)
    assert len(sent) < layer.size


def test_layer_source_needs_no_nix(contents: str) -> None:
    """A layer of files is streamed where there is no Nix at all."""

    def find_nix() -> object:
        raise AssertionError("nothing of it is in a store")

    layer = digest_layer(RECIPE, contents=contents)
    source = LayerSource(find_nix, contents=contents)  # type: ignore[arg-type]
    assert source.write_layer(RECIPE, layer, lambda part: None) == layer.size


@pytest.mark.parametrize("kind", ("directory", "pipe", "device"))
def test_contents_that_are_no_file(kind: str, contents: str) -> None:
    """A pipe into which nobody writes is not waited for, and of a device no more is read than belongs there."""
    layer = digest_layer(RECIPE, contents=contents)
    path = Path(contents, hashlib.sha256(b"x" * 512).hexdigest())
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ContentsReadError, match="d{120}/ü{60}"):
        write_layer(RECIPE, layer, lambda data: None, contents=contents)
    if kind == "device":
        entry = next(entry for entry in RECIPE.entries if entry.size == 512)
        assert entry.sha256 is not None
        assert _sha256_of(entry, entry.sha256, contents) == hashlib.sha256(bytes(513)).hexdigest()
