"""Tests of `nixoci.tar.database`: the layer with the Nix database, byte by byte."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import nixoci
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.database.nix_database import database_bytes
from nixoci.errors import InvalidInputError
from nixoci.layer.digest import digest_layer, digest_layers
from nixoci.layer.layer import Layer
from nixoci.layer.mismatch import LayerMismatchError
from nixoci.layer.write import write_layer
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import Owner
from nixoci.store.registration import Registrations, closed_registrations
from nixoci.tar.database import garbage_collector_roots

from tests.integration.support.interpreters import interpreter
from tests.nixoci.store.closure_support import naive_closure, store_path
from tests.nixoci.store.registration_support import many, registered, registration_sets

#: More than one buffer holds, so that the database is cut into several.
LARGE = DatabaseRecipe(many(1500))

_FROZEN = "sha256:26fd9226b87d88f856cd71bccbda6468b47b98338e41510aeaf4a5648b195d5b"
_FROZEN_EMPTY = "sha256:c44e3909c7870308267b958faa2b5484226b0090019c50fe68f5be26c213df84"

_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from nixoci.layer.digest import digest_layer
from nixoci.recipe.recipe import parse_recipe
print(digest_layer(parse_recipe(sys.stdin.buffer.read())).to_json().decode())
"""


def _bytes(recipe: DatabaseRecipe) -> bytes:
    stream = bytearray()
    layer = digest_layer(recipe)
    assert write_layer(recipe, layer, stream.extend) == layer.size == len(stream)
    assert layer.digest == "sha256:" + hashlib.sha256(stream).hexdigest()
    return bytes(stream)


def _members(recipe: DatabaseRecipe) -> tuple[list[tarfile.TarInfo], dict[str, bytes]]:
    """Returns what is in the layer, in order, and the contents of its files."""
    stream = _bytes(recipe)
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        members = archive.getmembers()
    files = {m.name: stream[m.offset_data : m.offset_data + m.size] for m in members if m.isfile()}
    return members, files


def _recipe(**references: str) -> DatabaseRecipe:
    return DatabaseRecipe(
        closed_registrations(registered(name, words.split()) for name, words in references.items())
    )


def test_what_is_in_the_layer() -> None:
    """Parents first, siblings by their bytes; what Nix reads, and nothing that it makes."""
    recipe = _recipe(app="libc", tool="libc tool", libc="libc")
    members, files = _members(recipe)
    roots = sorted([store_path("app"), store_path("tool")])
    gcroots = "nix/var/nix/gcroots"
    assert [(m.name, m.type, m.mode, m.linkname) for m in members] == [
        ("nix", tarfile.DIRTYPE, 0o755, ""),
        ("nix/store", tarfile.DIRTYPE, 0o755, ""),
        ("nix/store/.links", tarfile.DIRTYPE, 0o755, ""),
        ("nix/var", tarfile.DIRTYPE, 0o755, ""),
        ("nix/var/nix", tarfile.DIRTYPE, 0o755, ""),
        ("nix/var/nix/db", tarfile.DIRTYPE, 0o755, ""),
        ("nix/var/nix/db/db.sqlite", tarfile.REGTYPE, 0o644, ""),
        ("nix/var/nix/db/schema", tarfile.REGTYPE, 0o644, ""),
        (gcroots, tarfile.DIRTYPE, 0o755, ""),
        (f"{gcroots}/image", tarfile.DIRTYPE, 0o755, ""),
        *((f"{gcroots}/image/{r.base_name}", tarfile.SYMTYPE, 0o777, str(r)) for r in roots),
        ("nix/var/nix/profiles", tarfile.DIRTYPE, 0o755, ""),
    ]
    assert {m.mtime for m in members} == {1}
    assert files == {
        "nix/var/nix/db/db.sqlite": database_bytes(recipe.registrations),
        "nix/var/nix/db/schema": b"10",
    }


def test_the_database_is_in_write_ahead_log_mode() -> None:
    """Without it parallel Nix processes find it busy (nix2container's issue 218)."""
    _, files = _members(_recipe(app=""))
    assert files["nix/var/nix/db/db.sqlite"][18:20] == b"\2\2"


def test_an_image_of_nothing_has_an_empty_database(tmp_path: Path) -> None:
    """Nix finds a store in which nothing is valid, rather than none."""
    members, files = _members(DatabaseRecipe(Registrations()))
    assert not [member for member in members if member.issym()]
    (tmp_path / "db").write_bytes(files["nix/var/nix/db/db.sqlite"])
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        assert [] == connection.execute("SELECT path FROM ValidPaths").fetchall()


@pytest.mark.parametrize(
    "owner",
    [Owner(), Owner(1000, 100, "", ""), Owner(0, 5, "root", ""), Owner(8**7 - 1, 1, "u", "g")],
)
def test_everything_belongs_to_the_owner(owner: Owner) -> None:
    """Directories, links and files: whoever runs Nix writes to all of them."""
    members, _ = _members(replace(_recipe(app="libc", libc=""), owner=owner))
    owners = {(m.uid, m.gid, m.uname, m.gname) for m in members}
    assert owners == {(owner.uid, owner.gid, owner.uname, owner.gname)}


@pytest.mark.parametrize(
    "owner", [Owner(uid=8**7), Owner(gid=-1), Owner(uname="é"), Owner(gname="g" * 32)]
)
def test_an_owner_that_a_header_has_no_room_for_is_refused(owner: Owner) -> None:
    """As in every other layer."""
    with pytest.raises(InvalidInputError):
        digest_layer(replace(_recipe(), owner=owner))


@given(registration_sets())
def test_roots_reach_everything_and_are_no_more_than_needed(registrations: Registrations) -> None:
    """The garbage collector keeps all of the image, and no root is reached by another."""
    known = {r.path: r.path_info() for r in registrations}
    roots = garbage_collector_roots(registrations)
    assert list(roots) == sorted(set(roots))
    assert naive_closure(known, roots) == set(known)
    for root in roots:
        assert root not in naive_closure(known, [other for other in roots if other != root])


@settings(max_examples=30)
@given(registration_sets(), st.randoms())
def test_the_order_of_the_input_is_in_no_byte(
    registrations: Registrations, order: random.Random
) -> None:
    """Layers of one set of registrations are the same bytes."""
    shuffled = list(registrations)
    order.shuffle(shuffled)
    again = DatabaseRecipe(closed_registrations(shuffled))
    assert _bytes(DatabaseRecipe(registrations)) == _bytes(again)


@pytest.mark.parametrize("version", ["3.9", "3.11", "3.13"])
@pytest.mark.parametrize("recipe", [LARGE, replace(LARGE, owner=Owner(1000, 100, "", ""))])
def test_every_python_makes_the_same_bytes(version: str, recipe: DatabaseRecipe) -> None:
    """Neither it nor the SQLite that it may have has a say."""
    command = [interpreter(version), "-S", "-E", "-I", "-c", _PROGRAM]
    output = subprocess.run(
        [*command, str(Path(nixoci.__file__).parents[1])],
        input=recipe.to_json(),
        env={"LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert Layer.from_json(output) == digest_layer(recipe)


def test_the_bytes_are_frozen() -> None:
    """They change with `RECIPE_VERSION` only: a cached digest must stay that of the layer."""
    layer = digest_layer(LARGE)
    assert layer.size > 256 * 1024
    assert layer.digest == _FROZEN
    assert digest_layer(DatabaseRecipe(Registrations())).digest == _FROZEN_EMPTY


def test_in_processes_of_their_own() -> None:
    """Layers of both kinds are digested side by side, in the order of their recipes."""
    recipes = [LARGE, _recipe(app=""), _recipe()]
    assert digest_layers(recipes, jobs=2) == [digest_layer(recipe) for recipe in recipes]


@pytest.mark.parametrize("change", [-512, 0, 512])
def test_other_bytes_than_recorded_never_leave_whole(change: int) -> None:
    """The error blames no store path, since the layer is made of none."""
    layer = digest_layer(LARGE)
    recorded = replace(layer, size=layer.size + change, digest="sha256:" + "0" * 64)
    received = bytearray()
    with pytest.raises(LayerMismatchError) as caught:
        write_layer(LARGE, recorded, received.extend)
    assert caught.value.changed == ()
    assert "another version" in str(caught.value)
    assert len(received) < min(layer.size, recorded.size)


def test_no_store_is_looked_at(tmp_path: Path) -> None:
    """A root without a store in it does as well."""
    nowhere = os.fspath(tmp_path / "nowhere")
    assert digest_layer(LARGE, store_root=nowhere) == digest_layer(LARGE)
