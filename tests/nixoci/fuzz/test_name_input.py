"""Names in store paths: in tars of both dialects, in NARs, and on disks with other names than these."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
from pathlib import Path

import pytest
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Owner, Permission, RecipeEntry
from nixoci.store.case_hack import CASE_HACK
from nixoci.store.nar import NarError, nar_hash
from nixoci.tar.dialect import DIALECTS as WRITERS
from nixoci.tar.errors import CaseHackError, ReservedNameError, StoreReadError
from nixoci.tar.excludes import excluded_by
from nixoci.tar.header import BLOCK_SIZE, DIRECTORY, REGULAR, SYMLINK, owner_fields
from nixoci.tar.names import names_in_layer

from tests.nixoci.fuzz.fuzz import mutations, rounds
from tests.nixoci.store.nar_support import hash_by_nix
from tests.nixoci.tar.tar_support import ODD_NAMES, few_descriptors, store_path, tar_bytes

_ONE = store_path("one")
_NAMES = [
    *(b"bin", b"lib.so.6", b".wh.x", b".wh..wh..opq", "é".encode(), b"\xff\xfe", b"-", b"PaxHeaders"),
    *(f"a{CASE_HACK}1".encode(), CASE_HACK.encode(), f"A{CASE_HACK}".encode(), *ODD_NAMES),
]


def has_case_hack() -> bool:
    return True


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", [REGULAR, SYMLINK, DIRECTORY])
def test_headers(dialect: str, kind: bytes) -> None:
    """Any path and any target of a link come out of a reader of tars as they were."""
    encode = WRITERS[dialect].encode_header
    root = WRITERS[dialect].root
    corpus = [b"/".join(_NAMES[i : i + 4]) for i in range(0, len(_NAMES), 3)]
    for path in itertools.islice(mutations(corpus, 1), rounds() // 3):
        path = path.replace(b"\0", b"").strip(b"/")[:3_000]
        path = b"/".join(name for name in path.split(b"/") if name)
        if not path:
            continue
        name = root + path + (b"/" if kind == DIRECTORY else b"")
        link = path[::-1][:4_000] if kind == SYMLINK else b""
        header = encode(name, kind, 0o644, 0, link, owner_fields(Owner()))
        assert len(header) % BLOCK_SIZE == 0
        with tarfile.open(fileobj=io.BytesIO(header + bytes(1024))) as archive:
            (member,) = archive.getmembers()
        found = member.name.encode("utf-8", "surrogateescape")
        assert found.strip(b"/") == path, path
        assert member.linkname.encode("utf-8", "surrogateescape") == link
        assert member.type == kind


def test_names_of_a_directory() -> None:
    """Each name is in the layer once, excluded, or an error of its own."""
    chosen = [None, excluded_by(("a", "**/*.so.?", "*~*"))]
    for data in mutations([b"/".join(_NAMES[i:]) for i in range(5)], 2):
        names = {name for name in os.fsdecode(data.replace(b"\0", b"")).split("/") if name}
        for excluded in chosen:
            try:
                found = names_in_layer(_ONE, "d/", sorted(names), excluded, has_case_hack)
            except (ReservedNameError, CaseHackError) as error:
                assert str(error).isprintable()
                continue
            assert set(found.values()) <= names and all(found)
            assert not any(name.startswith(".wh.") for name in found)


def test_trees_of_any_names(tmp_path: Path) -> None:
    """What has a NAR has a layer, or an error says why; the hash is that of Nix, however odd the names are."""
    root = str(tmp_path)
    top = os.fsencode(f"{root}{_ONE}")
    os.makedirs(os.path.dirname(top))
    entry = RecipeEntry(_ONE, "sha256-x", _ONE)
    for number, data in enumerate(mutations([b"/".join(_NAMES[i:]) for i in range(8)], 3)):
        if number >= rounds() / 100:
            break
        names = [n[:255] for n in data.replace(b"\0", b"").split(b"/") if n not in (b"", b".", b"..")]
        place = top
        os.mkdir(top)
        for level, name in enumerate(names[:12]):
            if os.path.lexists(place + b"/" + name):
                continue
            if level % 3 == 0:
                place += b"/" + name
                os.mkdir(place)
            else:
                with open(place + b"/" + name, "wb") as file:
                    file.write(name)
        with few_descriptors(100):
            for dialect in DIALECTS:
                recipe = LayerRecipe((entry,), dialect=dialect)
                try:
                    data = tar_bytes(recipe, root)
                except StoreReadError as error:
                    assert b".wh." in b"/".join(names), error
                else:
                    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                        archive.getmembers()
            try:
                nar_hash(os.fsdecode(top), has_case_hack)
            except NarError as error:
                assert CASE_HACK.encode() in b"/".join(names), error
        if number % 10 == 0:
            assert nar_hash(os.fsdecode(top)) == hash_by_nix(os.fsdecode(top))
        for directory, directories, files in os.walk(top, topdown=False):
            for name in files:
                os.unlink(directory + b"/" + name)
            for name in directories:
                os.rmdir(directory + b"/" + name)
        os.rmdir(top)


def test_permissions_on_any_name() -> None:
    """A recipe's permissions say of any path whether they match."""
    stated = (Permission("/nix/.*", mode=0o700), Permission(r"(?s)/etc/[^/]+\.so", uid=1))
    permissions = LayerRecipe.from_json(LayerRecipe((), stated).to_json()).permissions
    for data in mutations(_NAMES, 4):
        path = "/etc/" + data.decode("utf-8", "surrogateescape")
        assert permissions[0].matches(path) is False
        permissions[1].matches(path)
        permissions[1].may_match(path)
