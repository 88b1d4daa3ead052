"""The fast path is an optimisation: it never shows in the bytes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Owner, Permission
from nixoci.tar.dialect import DIALECTS as WRITERS
from nixoci.tar.header import (
    NAME_SIZE,
    REGULAR,
    owner_fields,
    prefixed_header_parts,
    whole_header_parts,
)
from nixoci.tar.output import BUFFER_SIZE
from nixoci.tar.pack import pack

from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    both,
    directories,
    recipe_of,
    store_path,
    temporary_directory,
    to_root,
    write_store,
)

PATH = store_path("tree")
ROOT_PATH = store_path("root", "2")


def packed(recipe: LayerRecipe, store_root: str, *, fast: bool) -> bytes:
    stream = io.BytesIO()
    buffer = memoryview(bytearray(b"\xaa" * BUFFER_SIZE))

    def flush(full: memoryview) -> memoryview:
        stream.write(full)
        return buffer

    _, last = pack(recipe, buffer, flush, store_root=store_root, fast=fast)
    return stream.getvalue() + bytes(last)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=directories)
def test_fast_is_slow_for_any_tree(node: Node) -> None:
    """Both paths give the same bytes, below the store, at the root and merged, in each dialect."""
    with temporary_directory() as store:
        write_store(store, {PATH: node, ROOT_PATH: node})
        for recipe in (
            recipe_of(PATH),
            LayerRecipe(recipe_of(PATH).entries, owner=Owner(1000, 100, "nix", "users")),
            to_root(ROOT_PATH),
            to_root(PATH, ROOT_PATH),
        ):
            for dialect in DIALECTS:
                recipe = replace(recipe, dialect=dialect)
                assert packed(recipe, store, fast=True) == packed(recipe, store, fast=False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_fast_is_slow_for_every_length_of_directory_and_name(dialect: str) -> None:
    """Around each boundary of name and prefix field, both paths split names alike."""
    lengths = (1, 2, 99, 100, 101, 153, 154, 155, 156)
    tree: Node = {b"f" * length: File(b"x" * length) for length in lengths}
    trees: dict[bytes, Node] = {b"d" * length: tree for length in (*range(30, 60), *lengths)}
    with temporary_directory() as store:
        write_store(store, {PATH: {**trees, b"inner": trees, b"link": Link(b"x")}})
        recipe = both(recipe_of(PATH, dialect=dialect), to_root(PATH))
        assert packed(recipe, store, fast=True) == packed(recipe, store, fast=False)


def test_fast_is_slow_for_every_place_in_the_buffer() -> None:
    """Files that end just before, at and after the end of the buffer are packed alike."""
    tree: Node = {
        b"%03d-%d" % (index, size): File(b"y" * size)
        for index, size in enumerate(
            BUFFER_SIZE + difference
            for start in (-4096, -1024, -512, 0)
            for difference in range(start - 3, start + 4)
        )
    }
    with temporary_directory() as store:
        write_store(store, {PATH: tree})
        recipe = recipe_of(PATH)
        assert packed(recipe, store, fast=True) == packed(recipe, store, fast=False)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=300, deadline=None)
@given(
    components=st.lists(st.integers(1, 170), max_size=4),
    name=st.integers(1, 120),
    uid=st.integers(0, 8**7 - 1),
)
def test_header_parts_give_the_header(
    dialect: str, components: list[int], name: int, uid: int
) -> None:
    """Wherever a name fits the parts of its directory, they make the same header."""
    writer = WRITERS[dialect]
    directory = writer.root + b"".join(b"d" * length + b"/" for length in components)
    fields = owner_fields(Owner(uid))
    whole, prefixed = whole_header_parts(directory, fields), prefixed_header_parts(directory, fields)
    expected = writer.encode_header(directory + b"n" * name, REGULAR, 0o4755, 123, b"", fields)
    assert whole.room == max(NAME_SIZE - len(directory), -1)
    if name > max(whole.room, prefixed.room):
        assert len(expected) > 512, "only names that need pax do not fit"
        return
    parts = whole if name <= whole.room else prefixed
    assert parts.tail == expected[156:]
    assert parts.start.encode() + (b"n" * name).ljust(parts.room, b"\0") == expected[:100]
    checksum = sum(expected[:148]) + 1 + parts.tail_sum
    assert expected[148:156] == b"%06o\0 " % checksum


def test_permissions_elsewhere_change_nothing() -> None:
    """A permission that matches nothing of the recipe leaves the bytes as they are."""
    with temporary_directory() as store:
        write_store(store, {PATH: {b"a": File(b"x"), b"b": {b"c": File(b"y")}}})
        plain = recipe_of(PATH)
        for path in ("/etc/shadow", "/nix/store/.*/nothing"):
            recipe = LayerRecipe(plain.entries, (Permission(path, mode=0o600, uid=7),))
            assert packed(recipe, store, fast=True) == packed(plain, store, fast=True)
