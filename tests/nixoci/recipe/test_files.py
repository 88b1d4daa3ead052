"""Tests of `nixoci.recipe.files`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.json_output import canonical_json
from nixoci.recipe.files import FileEntry, FilesRecipe, with_directories
from nixoci.recipe.layer import Owner
from nixoci.recipe.recipe import parse_recipe

NAMES = st.sampled_from(["a", "a.b", "a-b", "b", "ü", "a b", "Z"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
LEAVES = st.one_of(
    st.builds(FileEntry, PATHS, st.just(0o644), sha256=st.just("0" * 64), size=st.integers(0, 9)),
    st.builds(
        FileEntry,
        PATHS,
        st.just(0o755),
        sha256=st.just("1" * 64),
        capabilities=st.sampled_from([(), ("cap_chown",), ("cap_net_raw", "cap_chown")]),
    ),
    st.builds(FileEntry, PATHS, st.just(0o600), text=st.text(max_size=3)),
    st.builds(FileEntry, PATHS, st.just(0o777), target=st.just("../x")),
    st.builds(FileEntry, PATHS, st.just(0o1777), st.builds(Owner, st.integers(0, 9))),
)


@given(st.lists(LEAVES, max_size=6), st.randoms())
def test_recipes_are_sets_of_entries(entries: list[FileEntry], random: object) -> None:
    """Order and repetition of entries change nothing; JSON keeps all of a recipe."""
    try:
        recipe = FilesRecipe(with_directories(entries))
    except InvalidInputError:
        return  # Two entries at one place, or one below a file.
    shuffled = [*recipe.entries, *recipe.entries]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert FilesRecipe(tuple(shuffled)) == recipe
    assert parse_recipe(recipe.to_json()) == recipe
    names = [entry.path.encode().split(b"/") for entry in recipe.entries]
    assert names == sorted(names)


def test_directories_are_added_as_they_are_known() -> None:
    """Others have mode 0755 and belong to root."""
    known = {"/home/app": FileEntry("/home/app", 0o700, Owner(1000, 1000, "", ""))}
    entries = with_directories([FileEntry("/home/app/x/file", 0o644, text="")], known)
    assert sorted(entries, key=lambda entry: entry.path) == [
        FileEntry("/home", 0o755),
        known["/home/app"],
        FileEntry("/home/app/x", 0o755),
        FileEntry("/home/app/x/file", 0o644, text=""),
    ]


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "a", "./a", "/a/", "/a//b", "/./a", "/a/..", "/..", "/a\0b", "/a/\udc80"),
        *("/nix", "/nix/store/x", "/.wh.a", "/a/.wh..wh..opq", "/.wh.d/file"),
    ],
)
def test_destinations_that_are_none(path: str) -> None:
    with pytest.raises(InvalidInputError):
        FileEntry(path, 0o644, text="")


@pytest.mark.parametrize("path", ["/nixos", "/a/nix/store", "/a/.whale", "/a.wh.b", "/…"])
def test_destinations_that_are_some(path: str) -> None:
    assert FileEntry(path, 0o644, text="").path == path


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"path": "/a"},
        {"path": "/a", "mode": 0o644},
        {"path": "/a", "mode": "644"},
        {"path": "/a", "mode": "0648"},
        {"path": "/a", "mode": "0644", "sha256": "x", "size": 1},
        {"path": "/a", "mode": "0644", "sha256": "0" * 64, "size": -1},
        {"path": "/a", "mode": "0644", "sha256": "0" * 64, "size": 1, "text": ""},
        {"path": "/a", "mode": "0777", "target": ""},
        {"path": "/a", "mode": "0755", "owner": {"name": "x"}},
        {"path": "/a", "mode": "0644", "text": "", "capabilities": ["cap_chown"]},
        {"path": "/a", "mode": "0644", "sha256": "0" * 64, "capabilities": ["cap_fly"]},
        {"path": "/a/b", "mode": "0755"},
    ],
)
def test_documents_that_are_no_recipe(document: dict) -> None:
    content = canonical_json("test", {"version": 1, "files": [document]})
    with pytest.raises(InvalidInputError):
        parse_recipe(content)


def test_summary_names_what_is_no_parent() -> None:
    entries = [FileEntry(f"/a/{name}", 0o644, text="") for name in "xyz"]
    assert FilesRecipe(with_directories(entries)).summary == "/a/x, /a/y and 1 more"


@pytest.mark.parametrize("kind", [{}, {"text": "a"}, {"target": "b"}])
def test_only_files_with_contents_have_a_size(kind: dict[str, str]) -> None:
    """It would be lost in the JSON form of the recipe, and equal forms are equal recipes."""
    with pytest.raises(InvalidInputError, match="only files with contents have one"):
        FileEntry("/a", 0o644, size=1, **kind)  # type: ignore[arg-type]
    FileEntry("/a", 0o644, sha256="0" * 64, size=1)
