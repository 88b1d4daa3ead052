"""The tar stream of a recipe: its layout, and that nothing but the recipe's contents is in it."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import subprocess
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Owner, Permission
from nixoci.tar.errors import (
    FileChangedError,
    NotADirectoryInRootError,
    StorePathMissingError,
    StorePathUnreadableError,
    UnsupportedFileTypeError,
)
from nixoci.tar.output import BUFFER_SIZE
from nixoci.tar.pack import pack, write_tar

from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    far_down,
    few_descriptors,
    names_of_deep_tree,
    recipe_of,
    store_path,
    tar_bytes,
    to_root,
    write_deep_tree,
    write_store,
)

ONE = store_path("one", "1")
TWO = store_path("two", "2")


def members(recipe: LayerRecipe, store_root: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(recipe, str(store_root)))) as archive:
        return archive.getmembers()


def test_layout(tmp_path: Path) -> None:
    """Parents first, depth-first, siblings by their bytes, whatever the recipe's order was."""
    tree: Node = {
        b"b": {b"z": File(b"z"), b"a": Link(b"z")},
        b"a": File(b"a", 0o555),
        b"B": {},
        "é".encode(): File(),
        b"b.c": File(),
    }
    write_store(str(tmp_path), {ONE: File(b"1"), TWO: tree})
    stream = tar_bytes(recipe_of(TWO, ONE), str(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        found = [(m.name, m.type, m.mode, m.linkname) for m in archive.getmembers()]
        owners = {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in archive.getmembers()}
    top, other = TWO[1:], ONE[1:]
    assert found == [
        ("nix", tarfile.DIRTYPE, 0o755, ""),
        ("nix/store", tarfile.DIRTYPE, 0o755, ""),
        (other, tarfile.REGTYPE, 0o444, ""),
        (top, tarfile.DIRTYPE, 0o555, ""),
        (f"{top}/B", tarfile.DIRTYPE, 0o555, ""),
        (f"{top}/a", tarfile.REGTYPE, 0o555, ""),
        (f"{top}/b", tarfile.DIRTYPE, 0o555, ""),
        (f"{top}/b/a", tarfile.SYMTYPE, 0o777, "z"),
        (f"{top}/b/z", tarfile.REGTYPE, 0o444, ""),
        (f"{top}/b.c", tarfile.REGTYPE, 0o444, ""),
        (f"{top}/é", tarfile.REGTYPE, 0o444, ""),
    ]
    assert owners == {(0, 0, "root", "root", 1)}
    assert stream.endswith(bytes(1024)) and not stream.endswith(bytes(1024 + 512))


def test_names_are_relative_and_directories_end_in_a_slash(tmp_path: Path) -> None:
    """The raw name fields are as the layout says (readers hide the difference)."""
    write_store(str(tmp_path), {ONE: {b"d": {}}})
    stream = tar_bytes(recipe_of(ONE), str(tmp_path))
    names = [stream[start : start + 100].rstrip(b"\0") for start in range(0, len(stream), 512)]
    top = ONE[1:].encode()
    assert names == [b"nix/", b"nix/store/", top + b"/", top + b"/d/", b"", b""]


def test_known_digest(tmp_path: Path) -> None:
    """The layout is frozen: a change of these bytes must come with a new RECIPE_VERSION."""
    tree: Node = {
        b"bin": {b"run": File(b"#!/bin/sh\n", 0o555)},
        b"link": Link(b"x" * 101),
        b"long-" + b"y" * 200: File(b"y" * 1000),
        b"latin-\xe9": {b"empty": {}, b"d" * 90: {b"e" * 90: File()}},
    }
    write_store(str(tmp_path), {ONE: tree})
    stream = tar_bytes(recipe_of(ONE), str(tmp_path))
    assert hashlib.sha256(stream).hexdigest() == (
        "cb8154ecfffcaa0953b6e77c657186729c21366b44adf97b5b1c73a844bb952d"
    )


def test_empty_recipe_is_an_empty_archive() -> None:
    """No entries, no parents: just the end."""
    assert tar_bytes(LayerRecipe(()), "") == bytes(1024)


def test_hard_links_do_not_show(tmp_path: Path) -> None:
    """A store after `nix-store --optimise` gives the same bytes."""
    tree: Node = {b"a": File(b"same"), b"b": File(b"same"), b"c": {b"d": File(b"same")}}
    write_store(str(tmp_path), {ONE: tree})
    before = tar_bytes(recipe_of(ONE), str(tmp_path))
    top = f"{tmp_path}{ONE}"
    os.chmod(top, 0o755)
    os.unlink(f"{top}/b")
    os.link(f"{top}/a", f"{top}/b")
    os.chmod(top, 0o555)
    assert os.stat(f"{top}/a").st_nlink == 2
    assert tar_bytes(recipe_of(ONE), str(tmp_path)) == before


def test_bytes_depend_on_no_time_umask_or_order(tmp_path: Path) -> None:
    """Other times, another umask, another order of creation: the same bytes."""
    tree: dict[bytes, Node] = {b"%d" % number: File(b"%d" % number) for number in range(50)}
    write_store(f"{tmp_path}/a", {ONE: tree})
    old = os.umask(0o077)
    try:
        write_store(f"{tmp_path}/b", {ONE: dict(reversed(list(tree.items())))})
    finally:
        os.umask(old)
    os.utime(f"{tmp_path}/b{ONE}/7", (5e8, 5e8))
    a, b = (tar_bytes(recipe_of(ONE), f"{tmp_path}/{name}") for name in "ab")
    assert a == b


def test_root_entry_brings_its_contents_only(tmp_path: Path) -> None:
    """The top directory is not emitted, directories are 0755, files keep their modes."""
    write_store(str(tmp_path), {ONE: {b"etc": {b"x": File(b"1")}, b"bin": Link(b"/usr/bin")}})
    found = [(m.name, m.mode) for m in members(to_root(ONE), tmp_path)]
    assert found == [("bin", 0o777), ("etc", 0o755), ("etc/x", 0o444)]


@pytest.mark.parametrize("node", [File(b"x"), Link(b"x")])
def test_only_directories_go_to_the_root(tmp_path: Path, node: Node) -> None:
    """A file or link cannot become the root; the error names the path."""
    write_store(str(tmp_path), {ONE: node})
    with pytest.raises(NotADirectoryInRootError) as caught:
        tar_bytes(to_root(ONE), str(tmp_path))
    assert caught.value.path == ONE


def test_permissions(tmp_path: Path) -> None:
    """They match whole absolute paths, apply in order and by field, and spare links' modes."""
    write_store(
        str(tmp_path),
        {
            ONE: {b"etc": {b"shadow": File(), b"shadow-": File(), b"l": Link(b"x")}},
            TWO: {b"bin": {b"su": File(b"", 0o555), b"\xff": File()}},
        },
    )
    recipe = LayerRecipe(
        to_root(ONE).entries + recipe_of(TWO).entries,
        permissions=(
            Permission("/etc/.*", mode=0o600, uid=1, gname="one"),
            Permission("/etc/shadow", mode=0o640, gid=42),
            Permission("/nix/store/[^/]+/bin/su", mode=0o4755),
            Permission("/nix/store/[^/]+/bin/\udcff", uid=9),
            Permission("/nix(/store)?", uid=1000, uname="nix"),
        ),
        owner=Owner(5, 6, "five", "six"),
    )
    found = {m.name: (m.mode, m.uid, m.gid, m.uname, m.gname) for m in members(recipe, tmp_path)}
    top = TWO[1:]
    assert found == {
        "nix": (0o755, 1000, 6, "nix", "six"),
        "nix/store": (0o755, 1000, 6, "nix", "six"),
        "etc": (0o755, 0, 0, "root", "root"),
        "etc/l": (0o777, 1, 0, "root", "one"),
        "etc/shadow": (0o640, 1, 42, "root", "one"),
        "etc/shadow-": (0o600, 1, 0, "root", "one"),
        top: (0o555, 5, 6, "five", "six"),
        f"{top}/bin": (0o555, 5, 6, "five", "six"),
        f"{top}/bin/su": (0o4755, 5, 6, "five", "six"),
        f"{top}/bin/\udcff": (0o444, 9, 6, "five", "six"),
    }


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("permissions", [(), (Permission("/nothing/like/this"),)])
def test_the_owner_owns_nix_and_nothing_else(
    tmp_path: Path, dialect: str, permissions: tuple[Permission, ...]
) -> None:
    """`/nix` and what is below it, also what a copied tree brings there; the rest is root's."""
    copied: Node = {
        b"etc": {b"nix": {b"nix.conf": File()}},
        b"nix": {b"etc": {b"f": File()}, b"l": Link(b"/etc")},
        b"nix.conf": File(),
        b"nixos": {b"f": File()},
    }
    long_name = b"n" * 200
    write_store(str(tmp_path), {ONE: copied, TWO: {b"nix": File(), long_name: File()}})
    recipe = LayerRecipe(
        to_root(ONE).entries + recipe_of(TWO).entries,
        permissions,
        Owner(1000, 100, "", ""),
        dialect,
    )
    owners: dict[str, tuple[object, ...]] = {}
    for member in members(recipe, tmp_path):
        owners["/" + member.name.strip("/")] = (member.uid, member.gid, member.uname, member.gname)
    top = str(TWO)
    assert {name for name, owner in owners.items() if owner == (1000, 100, "", "")} == {
        *("/nix", "/nix/etc", "/nix/etc/f", "/nix/l", "/nix/store"),
        *(top, f"{top}/nix", f"{top}/{long_name.decode()}"),
    }
    assert {name for name, owner in owners.items() if owner == (0, 0, "root", "root")} == {
        *("/etc", "/etc/nix", "/etc/nix/nix.conf", "/nix.conf", "/nixos", "/nixos/f"),
        *(["/"] if dialect == "nix2container" else []),
    }


def test_owner_that_ustar_has_no_room_for() -> None:
    """Such an owner is refused before any byte is written."""
    for owner in (Owner(uid=8**7), Owner(gid=-1), Owner(uname="ü"), Owner(gname="g" * 32)):
        with pytest.raises(InvalidInputError):
            tar_bytes(LayerRecipe((), owner=owner), "")


def test_missing_store_path(tmp_path: Path) -> None:
    """The error names the store path, and where it was looked for."""
    write_store(str(tmp_path), {ONE: File()})
    with pytest.raises(StorePathMissingError) as caught:
        tar_bytes(recipe_of(ONE, TWO), str(tmp_path))
    assert caught.value.path == TWO
    assert caught.value.location == f"{tmp_path}{TWO}"
    assert str(tmp_path) in str(caught.value)


def test_unsupported_kinds(tmp_path: Path) -> None:
    """A pipe and a socket are refused by name, below a path and as a path of its own."""
    write_store(str(tmp_path), {ONE: {b"d": {b"x": File()}}})
    os.chmod(f"{tmp_path}{ONE}/d", 0o755)
    os.mkfifo(f"{tmp_path}{ONE}/d/pipe")
    with pytest.raises(UnsupportedFileTypeError) as caught:
        tar_bytes(recipe_of(ONE), str(tmp_path))
    error = caught.value
    assert (error.path, error.file, error.kind) == (ONE, "d/pipe", "named pipe")
    os.mkfifo(f"{tmp_path}{TWO}")
    with pytest.raises(UnsupportedFileTypeError) as caught:
        tar_bytes(recipe_of(TWO), str(tmp_path))
    assert (caught.value.path, caught.value.file) == (TWO, "")


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("size", [600_000, 3_000_000])
def test_file_that_changes_while_it_is_read(tmp_path: Path, size: int, change: int) -> None:
    """A file that shrinks or grows is an error with its name, and the stream has no end."""
    write_store(str(tmp_path), {ONE: {b"d": {b"file": File(b"x" * size, 0o644)}}})
    stream = io.BytesIO()

    def write(part: memoryview) -> None:
        if not stream.tell():
            os.truncate(f"{tmp_path}{ONE}/d/file", size + change)
        stream.write(part)

    with pytest.raises(FileChangedError) as caught:
        write_tar(recipe_of(ONE), write, store_root=str(tmp_path))
    error = caught.value
    assert (error.path, error.file, error.expected) == (ONE, "d/file", size)
    assert not stream.getvalue().endswith(bytes(1024))


@pytest.mark.parametrize("levels, dialect", [(320, "nix2container"), (1_000, "oci"), (2_100, "oci")])
def test_a_deep_tree(tmp_path: Path, levels: int, dialect: str) -> None:
    """Whoever packs it, and however few files are open; also where no path leads to what is in it."""
    os.makedirs(f"{tmp_path}/nix/store")
    write_deep_tree(f"{tmp_path}{ONE}", levels)
    recipe = recipe_of(ONE, dialect=dialect)
    try:
        with few_descriptors(50):
            data = tar_bytes(recipe, str(tmp_path))
            assert far_down(lambda: tar_bytes(recipe, str(tmp_path))) == data
            slow = io.BytesIO()
            buffer = memoryview(bytearray(BUFFER_SIZE))

            def flush(full: memoryview) -> memoryview:
                slow.write(full)
                return full

            slow.write(pack(recipe, buffer, flush, store_root=str(tmp_path), fast=False)[1])
            assert slow.getvalue() == data
    finally:
        subprocess.run(["rm", "-rf", f"{tmp_path}{ONE}"], check=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [member for member in archive.getmembers() if member.name.strip("/")]
        links = [member.linkname for member in members if member.issym()]
    names = [member.name.strip("/") for member in members]
    assert names == ["nix", "nix/store", *names_of_deep_tree(ONE[1:], levels)]
    assert links == [f"{level}" for level in range(0, levels, 25)][::-1]


@pytest.mark.parametrize("permission", [(), (Permission("/nix/store/.*", mode=0o700, uid=7),)])
def test_a_deep_tree_of_odd_names(tmp_path: Path, permission: tuple[Permission, ...]) -> None:
    """What is not packed by the fast loop: names that are no ASCII, those of other disks, permissions."""
    write_store(str(tmp_path), {TWO: {b"a": File(b"a"), "é".encode(): {b"x": File()}}})
    os.chmod(f"{tmp_path}{TWO}/é", 0o755)
    write_deep_tree(f"{tmp_path}{TWO}/é/deep", 500)
    recipe = replace(recipe_of(TWO), permissions=permission)
    with few_descriptors(50):
        data = far_down(lambda: tar_bytes(recipe, str(tmp_path)))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        assert {member.mode for member in archive} >= ({0o700} if permission else {0o555})
    top = f"{TWO[1:]}/é"
    assert names[:5] == ["nix", "nix/store", TWO[1:], f"{TWO[1:]}/a", top]
    assert names[5:] == [*names_of_deep_tree(f"{top}/deep", 500), f"{top}/x"]


def test_a_directory_that_is_moved_while_it_is_read(tmp_path: Path) -> None:
    """Files of another directory are not taken for those of the one that they were in."""
    os.makedirs(f"{tmp_path}/nix/store")
    os.makedirs(f"{tmp_path}/elsewhere")
    write_deep_tree(f"{tmp_path}{ONE}", 100)
    with open(f"{tmp_path}{ONE}" + "/d" * 100 + "/large", "wb") as file:
        file.write(bytes(1_000_000))
    moved = f"{tmp_path}{ONE}" + "/d" * 10
    before = len(os.listdir("/dev/fd"))

    def write(part: memoryview) -> None:
        if os.path.exists(moved):
            os.rename(moved, f"{tmp_path}/elsewhere/d")

    with pytest.raises(StorePathUnreadableError) as caught:
        write_tar(recipe_of(ONE), write, store_root=str(tmp_path))
    assert caught.value.path == ONE and "moved" in str(caught.value)
    assert len(os.listdir("/dev/fd")) == before


def test_errors_print_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    """Control characters and stray bytes of names are escaped in the sentence."""
    write_store(str(tmp_path), {ONE: {}})
    os.chmod(f"{tmp_path}{ONE}", 0o755)
    os.mkfifo(os.fsencode(f"{tmp_path}{ONE}/") + b"\x1b[2J\n\xff")
    with pytest.raises(UnsupportedFileTypeError) as caught:
        tar_bytes(recipe_of(ONE), str(tmp_path))
    assert f"{ONE}/\\x1b[2J\\n\\udcff is a named pipe" in str(caught.value)


def test_errors_of_write_come_out_unchanged(tmp_path: Path) -> None:
    """A broken connection is not blamed on the store."""
    write_store(str(tmp_path), {ONE: File(b"x" * 1_000_000)})

    def write(part: memoryview) -> None:
        raise BrokenPipeError("gone")

    with pytest.raises(BrokenPipeError, match="gone"):
        write_tar(recipe_of(ONE), write, store_root=str(tmp_path))


def test_all_descriptors_are_closed_after_an_error(tmp_path: Path) -> None:
    """A server that packs many layers does not run out of descriptors."""
    write_store(str(tmp_path), {ONE: {b"a": {b"b": {b"c": File(b"x" * 1_000_000)}}}})
    open_before = os.listdir("/dev/fd")

    def write(part: memoryview) -> None:
        raise BrokenPipeError

    for _ in range(3):
        with pytest.raises(BrokenPipeError):
            write_tar(recipe_of(ONE), write, store_root=str(tmp_path))
    assert len(os.listdir("/dev/fd")) == len(open_before)


def test_raw_files_and_sockets_get_every_byte(tmp_path: Path) -> None:
    """`write` may be that of an unbuffered file, which takes part of what it gets, or `sendall`."""
    write_store(str(tmp_path), {ONE: File(os.urandom(1_000_000))})
    expected = tar_bytes(recipe_of(ONE), str(tmp_path))
    received = bytearray()
    written = bytearray()

    def write_some(part: memoryview) -> int:
        written.extend(part[:50_001])
        return min(len(part), 50_001)

    write_tar(recipe_of(ONE), write_some, store_root=str(tmp_path))
    assert bytes(written) == expected
    one, other = socket.socketpair()
    with one, other:

        def receive() -> None:
            while True:
                part = other.recv(65536)
                if not part:
                    return
                received.extend(part)

        reader = threading.Thread(target=receive)
        reader.start()
        write_tar(recipe_of(ONE), one.sendall, store_root=str(tmp_path))
        one.shutdown(socket.SHUT_WR)
        reader.join()
    assert bytes(received) == expected


def test_store_root_may_be_a_link_but_a_path_is_not_followed(tmp_path: Path) -> None:
    """A chroot store's root may be reached through links; a store path that is a link stays one."""
    write_store(f"{tmp_path}/store", {ONE: Link(b"elsewhere")})
    os.symlink("store", f"{tmp_path}/link")
    (last,) = [m for m in members(recipe_of(ONE), tmp_path / "link") if m.name == ONE[1:]]
    assert (last.type, last.linkname) == (tarfile.SYMTYPE, "elsewhere")
    assert stat.S_ISLNK(os.lstat(f"{tmp_path}/link").st_mode)
