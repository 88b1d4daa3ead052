"""The dialect `nix2container` has the bytes of that tool.

Two things hold it: digests that the tool itself gave (its `nix/tar.go` of commit 20d3395, built
with Go 1.19, run on the trees below), and for any tree a slow model that fills in each field of a
header by its offset.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from nixoci.recipe.layer import ROOT, LayerRecipe, Owner, Permission, RecipeEntry
from nixoci.tar.header import DIRECTORY, REGULAR, SYMLINK, USTAR_SIZE_LIMIT, owner_fields
from nixoci.tar.nix2container import encode_header

from tests.nixoci.tar.tar_support import (
    ODD_NAMES,
    File,
    Link,
    Node,
    directories,
    nodes,
    store_path,
    tar_bytes,
    temporary_directory,
    write_store,
)

PATH = store_path("tree")
OTHER = store_path("other", "2")
COPIED = store_path("copied", "3")
ALSO_COPIED = store_path("also-copied", "4")


def deep(name: bytes, levels: int) -> Node:
    node: Node = {b"file": File(b"deep"), b"link": Link(b"l" * 300), b"empty": {}}
    for _ in range(levels):
        node = {name: node, b"s": File(b"x")}
    return node


ODD: Node = {
    b"files": {name: File(name, 0o555) for name in ODD_NAMES},
    b"directories": {name: {name: File(name), b"empty": {}} for name in ODD_NAMES},
    b"links": {name: Link(b"../files/" + name) for name in ODD_NAMES},
    b"deep": {name: deep(name, 7) for name in (b"n" * 40, "é".encode() * 20, "éé".encode())},
    # Names of which nothing is left in ASCII, so that slashes meet at the end of the name field.
    b"slashes": {
        b"s" * length: {"é".encode(): {"é".encode(): {b"x": File()}}} for length in range(30, 50)
    },
    b"modes": {b"%o" % mode: File(b"", mode) for mode in (0o4555, 0o2755, 0o6755, 0o1777, 0o600)},
}
ETC: Node = {b"etc": {b"a": File(b"a"), b"c": Link(b"a")}, b"nix": {b"var": {}}, b"x": File()}
MORE_ETC: Node = {b"etc": {b"a": File(b"a"), b"b": File(b"b"), b"d": {}}, b"bin": Link(b"/x")}
TREES = {PATH: ODD, OTHER: File(b"other", 0o555), COPIED: ETC, ALSO_COPIED: MORE_ETC}

IN_STORE = tuple(RecipeEntry(path, "sha256-x", path) for path in (PATH, OTHER))
AT_ROOT = tuple(RecipeEntry(path, "sha256-x", ROOT) for path in (COPIED, ALSO_COPIED))
PERMISSIONS = (
    Permission(f"(?s){re.escape(PATH)}/files/.*", mode=0o640, uid=5, gid=2097151, uname="me"),
    Permission(f"(?s){re.escape(PATH)}/links/.*", mode=0o600, gname="us"),
    Permission(re.escape(OTHER), mode=0o4755, uid=0, gid=0),
)
#: Name: recipe, and the digest that nix2container gave. There, what goes to the root has the
#: rewrite of `copyToRoot` (`^<path>` to nothing), and a permission belongs to its path.
CASES = {
    "store": (
        LayerRecipe(IN_STORE, dialect="nix2container"),
        "194663e635eb523def3902dfc9ff7fb0b1aa4481ba094c03b866085872e4b044",
    ),
    "root": (
        LayerRecipe(AT_ROOT, dialect="nix2container"),
        "deac2ee84e215f08ab5caec5b02cc45d768a4eda440c0dc894705f042ed6fa4f",
    ),
    "both": (
        LayerRecipe(IN_STORE + AT_ROOT, dialect="nix2container"),
        "01a88f8ee2216c411f0ced6e7f30bd7f25545f314472e5e63f8d598e3f51f42a",
    ),
    "permissions": (
        LayerRecipe(IN_STORE, PERMISSIONS, dialect="nix2container"),
        "3f74e726c423ac49af2b3bc7686d71b599ead08312d971b61437a3c38810e5da",
    ),
    "nothing": (
        LayerRecipe((), dialect="nix2container"),
        "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_digests_are_those_of_nix2container(name: str) -> None:
    """What a registry has of that tool need not be pushed again."""
    recipe, expected = CASES[name]
    with temporary_directory() as store:
        write_store(store, TREES)
        assert hashlib.sha256(tar_bytes(recipe, store)).hexdigest() == expected


def model_header(name: bytes, kind: bytes, mode: int, size: int, link: bytes) -> bytes:
    """The headers of one entry, from the description of the layout rather than from the code."""
    ascii_name = bytes(byte for byte in name if byte < 128)
    ascii_link = bytes(byte for byte in link if byte < 128)
    records = {}
    if len(link) > 100 or ascii_link != link:
        records["linkpath"] = link
    if len(name) > 100 or ascii_name != name:
        records["path"] = name
    if size >= 8**11:
        records["size"] = str(size).encode()
    cut = name.rfind(b"/", 0, 156)
    splits = ascii_name == name and cut > 0 and 1 <= len(name) - cut - 1 <= 100
    if set(records) <= {"path"} and (not records or splits):
        prefix, rest = (name[:cut], name[cut + 1 :]) if records else (b"", name)
        return model_block(rest, kind, mode, size, link, prefix)
    body = b""
    for key in sorted(records):
        record = b" " + key.encode() + b"=" + records[key] + b"\n"
        length = next(n for n in range(1, 9999) if n == len(str(n)) + len(record))
        body += str(length).encode() + record
    directory, base = os.path.split(ascii_name)
    # `split` drops slashes that are next to the last one; they belong to the directory.
    directory = ascii_name[: len(ascii_name) - len(base) - 1]
    extended = bytearray(model_block(b"", b"x", 0, len(body), b"", b""))
    extended_name = (directory + b"/PaxHeaders.0/" + base)[:100]
    while extended_name.endswith(b"/"):
        extended_name = extended_name[:-1]
    extended[: len(extended_name)] = extended_name
    extended[136:147] = b"0" * 11
    extended[265:345] = bytes(80)
    return (
        with_checksum(extended)
        + body
        + bytes(-len(body) % 512)
        + model_block(
            first_slash_cut(ascii_name),
            kind,
            mode,
            size if size < 8**11 else 0,
            first_slash_cut(ascii_link),
            b"",
        )
    )


def first_slash_cut(text: bytes) -> bytes:
    """What a field of 100 bytes has of a longer text: the first slash of its end becomes NUL."""
    field = bytearray(text[:100])
    if len(text) > 100 and field[99:] == b"/":
        index = 99
        while field[index - 1 : index] == b"/":
            index -= 1
        field[index] = 0
    return bytes(field)


def model_block(
    name: bytes, kind: bytes, mode: int, size: int, link: bytes, prefix: bytes
) -> bytes:
    block = bytearray(512)
    for offset, value in (
        (0, name),
        (100, b"%07o" % mode),
        (108, b"0000000"),
        (116, b"0000000"),
        (124, b"%011o" % size),
        (136, b"00000000001"),
        (156, kind),
        (157, link),
        (257, b"ustar\0" + b"00"),
        (265, b"root"),
        (297, b"root"),
        (329, b"0000000"),
        (337, b"0000000"),
        (345, prefix),
    ):
        block[offset : offset + len(value)] = value
    return with_checksum(block)


def with_checksum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def model_tar(name: bytes, path: bytes) -> Iterator[bytes]:
    """What is at `path`, and below it, as entries named after `name`."""
    mode = os.lstat(path).st_mode
    bits = stat.S_IMODE(mode)
    if stat.S_ISLNK(mode):
        yield model_header(name, b"2", 0o777, 0, os.readlink(path))
    elif stat.S_ISREG(mode):
        with open(path, "rb") as file:
            content = file.read()
        yield model_header(name, b"0", bits, len(content), b"")
        yield content + bytes(-len(content) % 512)
    else:
        yield model_header(name, b"5", bits, 0, b"")
        for child in sorted(os.listdir(path)):
            yield from model_tar(name + b"/" + child, path + b"/" + child)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=nodes)
def test_any_store_path_is_as_the_model_says(node: Node) -> None:
    """Names, modes, pax headers and order of a store path that keeps its place."""
    recipe = LayerRecipe((RecipeEntry(PATH, "sha256-x", PATH),), dialect="nix2container")
    with temporary_directory() as store:
        write_store(store, {PATH: node})
        parents = [
            model_header(name, b"5", 0o755, 0, b"") for name in (b"/", b"/nix", b"/nix/store")
        ]
        expected = [*parents, *model_tar(PATH.encode(), os.fsencode(store + PATH)), bytes(1024)]
        assert tar_bytes(recipe, store) == b"".join(expected)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=directories)
def test_any_copied_tree_is_as_the_model_says(node: Node) -> None:
    """What is copied to the root keeps its modes; the root itself is there if anything is."""
    assume(b"nix" not in node)
    recipe = LayerRecipe((RecipeEntry(PATH, "sha256-x", ROOT),), dialect="nix2container")
    with temporary_directory() as store:
        write_store(store, {PATH: node})
        top = os.fsencode(store + PATH)
        expected = [model_header(b"/", b"5", 0o755, 0, b"")] if node else []
        for child in sorted(os.listdir(top)):
            expected.extend(model_tar(b"/" + child, top + b"/" + child))
        assert tar_bytes(recipe, store) == b"".join([*expected, bytes(1024)])


_names = st.lists(
    st.text("aé", min_size=1, max_size=5).flatmap(
        lambda text: st.integers(1, 60).map(lambda count: (text * count).encode())
    ),
    min_size=1,
    max_size=8,
).map(lambda names: b"/" + b"/".join(names))


@settings(max_examples=500, deadline=None)
@given(
    name=_names,
    kind=st.sampled_from([REGULAR, SYMLINK, DIRECTORY]),
    size=st.sampled_from([0, 1, USTAR_SIZE_LIMIT - 1, USTAR_SIZE_LIMIT, USTAR_SIZE_LIMIT * 9]),
    link=_names,
)
def test_any_header_is_as_the_model_says(name: bytes, kind: bytes, size: int, link: bytes) -> None:
    """Around all the lengths that matter, with much, little or nothing of a name in ASCII."""
    size = size if kind == REGULAR else 0
    link = link if kind == SYMLINK else b""
    written = name + b"/" if kind == DIRECTORY else name
    header = encode_header(written, kind, 0o444, size, link, owner_fields(Owner()))
    assert header == model_header(name, kind, 0o444, size, link)
