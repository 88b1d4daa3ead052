"""Tests of `nixoci.layer.idle_permissions`, against the headers of the tar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nixoci.layer.idle_permissions import idle_permissions
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Permission
from nixoci.tar.errors import StorePathMissingError

from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    both,
    recipe_of,
    store_path,
    tar_bytes,
    to_root,
    write_store,
)

ONE, TWO = store_path("one", "1"), store_path("two", "2")
TREE: Node = {b"bin": {b"su": File(b"x", 0o555), b"link": Link(b"su")}, b"empty": {}}


@pytest.mark.parametrize(
    "permission",
    [
        Permission("/nix/store", mode=0o1775),
        Permission("/nix", uid=7),
        Permission(f"{ONE}", mode=0o700),
        Permission(f"{ONE}/bin/su", mode=0o4755),
        Permission(f"{ONE}/bin/link", mode=0o600),
        Permission(f"{ONE}/bin/link", uid=7),
        Permission(f"{ONE}/bin/link", capabilities=("cap_kill",)),
        Permission(f"{ONE}/empty", capabilities=("cap_kill",)),
        Permission(f"{ONE}/bin/.*", capabilities=("cap_kill",)),
        Permission("/bin/su", mode=0o700),
        Permission("/empty", gname="staff"),
        Permission(f"{TWO}/bin/su", uid=7),
        Permission("bin/su", uid=7),
        Permission("/", uid=7),
        Permission("/etc/.*", uid=7),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_idle_is_what_changes_no_byte(tmp_path: Path, dialect: str, permission: Permission) -> None:
    """The tar is another one with each of the others."""
    write_store(str(tmp_path), {ONE: TREE, TWO: TREE})
    for plain in (
        recipe_of(ONE, dialect=dialect),
        to_root(TWO, dialect=dialect),
        both(recipe_of(ONE, dialect=dialect), to_root(TWO)),
    ):
        recipe = replace(plain, permissions=(permission,))
        same = tar_bytes(recipe, str(tmp_path)) == tar_bytes(plain, str(tmp_path))
        # The root is in tars of one dialect only, and of no image a directory that users name.
        if permission.path != "/":
            assert idle_permissions(recipe, str(tmp_path)) == ((0,) if same else ())
        else:
            assert idle_permissions(recipe, str(tmp_path)) == (0,)


def test_several_permissions(tmp_path: Path) -> None:
    """Positions of those that change nothing, though another one may say the same of the path."""
    write_store(str(tmp_path), {ONE: TREE})
    permissions = (
        Permission("/x", uid=1),
        Permission(f"{ONE}/bin/.*", mode=0o700),
        Permission(f"{ONE}/bin/su", mode=0o755),
        Permission("/y", uid=1),
    )
    recipe = LayerRecipe(recipe_of(ONE).entries, permissions)
    assert idle_permissions(recipe, str(tmp_path)) == (0, 3)
    assert idle_permissions(replace(recipe, excludes=("bin/**",)), str(tmp_path)) == (0, 1, 2, 3)


def test_store_path_that_is_not_there(tmp_path: Path) -> None:
    """Unless nothing of it can match."""
    recipe = LayerRecipe(recipe_of(ONE).entries, (Permission(f"{ONE}/x", uid=1),))
    with pytest.raises(StorePathMissingError):
        idle_permissions(recipe, str(tmp_path))
    recipe = LayerRecipe(recipe_of(ONE).entries, (Permission("/etc/x", uid=1),))
    assert idle_permissions(recipe, str(tmp_path)) == (0,)
