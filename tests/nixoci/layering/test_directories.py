"""Tests of `nixoci.layering.directories`, against what is unpacked."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nixoci.layer.copied_tree import copied_tree
from nixoci.layering.directories import DirectoriesBelow, Directory, directories_below
from nixoci.layering.files import FileGroup, layers_of_files
from nixoci.recipe.files import FileEntry
from nixoci.recipe.layer import LayerRecipe, Owner, Permission
from nixoci.tar.files import pack_files
from nixoci.tar.output import BUFFER_SIZE

from tests.nixoci.tar.tar_support import (
    both,
    recipe_of,
    store_path,
    tar_bytes,
    temporary_directory,
    to_root,
    write_store,
)

LAYERS = tuple(store_path(f"layer{digit}", digit) for digit in "123")
_TREES = st.recursive(
    st.just({}),
    lambda children: st.dictionaries(st.sampled_from([b"tmp", b"a", b"nix"]), children, max_size=2),
    max_leaves=4,
)
_PATHS = ["/tmp", "/tmp/a", "/a", "/a/tmp", "/nix", "/nix/store", "/nix/a", "/.*", "/a(/.*)?"]
_PERMISSIONS = st.lists(
    st.one_of(
        st.builds(Permission, st.sampled_from(_PATHS), mode=st.sampled_from([0o1777, 0o755, 0o700])),
        st.builds(Permission, st.sampled_from(_PATHS), uid=st.sampled_from([0, 7])),
        st.just(Permission("/.*", capabilities=("cap_kill",))),
    ),
    max_size=2,
).map(tuple)


def unpacked(stream: bytes) -> dict[str, tuple[int, int, int]]:
    """Returns mode and owner of the directories in a layer."""
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        return {
            f"/{member.name.strip('/')}": (member.mode, member.uid, member.gid)
            for member in archive.getmembers()
            if member.isdir()
        }


def tar_of_files(recipe: Any) -> bytes:
    stream = bytearray()

    def flush(view: memoryview) -> memoryview:
        stream.extend(view)
        return view

    _, last = pack_files(recipe, memoryview(bytearray(BUFFER_SIZE)), flush, contents=None)
    return bytes(stream + last)


def says(recipe: LayerRecipe, path: str) -> bool:
    return any(
        permission.matches(path) for permission in recipe.permissions if not permission.capabilities
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), owner=st.sampled_from([Owner(), Owner(3, 4, "", "")]))
def test_the_image_has_directories_as_its_layers_say(data: Any, owner: Owner) -> None:
    """The uppermost that says something is right, whatever others write; nothing is written without need."""
    trees = [dict(data.draw(_TREES)) for _ in LAYERS]
    for tree in trees:
        # Nothing is copied into the store.
        tree.get(b"nix", {}).pop(b"store", None)
    recipes = []
    for path in LAYERS:
        recipe = to_root(path)
        if data.draw(st.booleans()):
            recipe = both(recipe, recipe_of(path))
        recipes.append(replace(recipe, permissions=data.draw(_PERMISSIONS), owner=owner))
    with temporary_directory() as store:
        write_store(store, dict(zip(LAYERS, trees)))
        below = directories_below([(one, copied_tree(one, store)) for one in recipes])
        streams = [tar_bytes(recipe, store) for recipe in recipes]
    found: dict[str, tuple[int, int, int]] = {}
    expected: dict[str, tuple[int, int, int]] = {}
    said = set()
    for recipe, stream in zip(recipes, streams):
        for path, fact in unpacked(stream).items():
            if path.startswith("/nix/store/"):
                continue
            found[path] = fact
            if says(recipe, path) or path not in said:
                expected[path] = fact
            if says(recipe, path):
                said.add(path)
    (layer,) = layers_of_files([], [], below)
    assert (layer is None) == (found == expected)
    if layer is not None:
        found.update(unpacked(tar_of_files(layer)))
    assert found == expected


@pytest.mark.parametrize("dialect, mode", [("oci", 0o755), ("nix2container", 0o555)])
def test_directories_stay_as_they_are_copied(dialect: str, mode: int) -> None:
    """What a file is put into keeps mode and owner of the layer below, unless `directories` has others."""
    tree = {"/home": True, "/home/u": True, "/data": True, "/etc": True, "/etc/motd": False}
    permissions = (
        Permission("/home/u", mode=0o700, uid=7, uname="u"),
        Permission("/data", mode=0o1777),
        Permission("/etc/motd", mode=0o600),
    )
    below = directories_below([(LayerRecipe((), permissions, dialect=dialect), tree)])
    assert below.spoiled == ()
    declared = FileGroup("directories", (FileEntry("/data", 0o750),))
    files = FileGroup(
        "files", tuple(FileEntry(path, 0o444, text="") for path in ("/home/u/x", "/opt/x", "/data/x"))
    )
    found = {
        entry.path: entry
        for layer in layers_of_files([declared], [[files]], below)
        for entry in (layer.entries if layer else ())
    }
    assert found["/home"].mode == mode
    assert found["/home/u"] == FileEntry("/home/u", 0o700, Owner(7, 0, "u", "root"))
    assert found["/data"] == FileEntry("/data", 0o750)
    assert found["/opt"] == FileEntry("/opt", 0o755)


@pytest.mark.parametrize("said", [0o755, 0o700])
def test_what_the_fields_say_counts_before_lower_layers(said: int) -> None:
    """Also that a directory is an ordinary one; a group of contents merely has it then."""
    below = DirectoriesBelow((Directory("/tmp", 0o1777),))
    group = FileGroup("somebody", (FileEntry("/tmp", said),))
    (system,) = layers_of_files([group], [], below)
    assert system is not None and system.entries == group.entries
    _, contents = layers_of_files([], [[group]], below)
    mode = 0o1777 if said == 0o755 else said
    assert contents is not None and contents.entries == (FileEntry("/tmp", mode),)


@pytest.mark.parametrize("name", ["/a b", "/a.b", "/a+(x)", "/é"])
def test_a_directory_as_a_permission(name: str) -> None:
    """Of that directory, and of nothing else."""
    permission = Directory(name, 0o700, Owner(3, 4, "", "")).as_permission()
    assert permission.matches(name) and permission.may_match(name)
    assert not permission.matches(f"{name}/x") and not permission.matches("/axb")
    assert (permission.change(Owner()).uid, permission.change(Owner()).gid) == (3, 4)
