"""Tests of `nixoci.registry.batch.members`: the files that pushes of one batch know each other by."""

from __future__ import annotations

from pathlib import Path

import pytest
from nixoci.atomic import OutputError
from nixoci.errors import InvalidInputError
from nixoci.registry.batch.members import (
    FAILED,
    PUSHED,
    WAITING,
    Member,
    labels,
    read_members,
    remove_batch,
    write_member,
)


def test_members(tmp_path: Path) -> None:
    """The last word of each counts; what is being written is none."""
    directory = tmp_path / "batches" / "1"
    pushed = Member("b:image", PUSHED, "sha256:1", '{"a":"ä"}', "type", ("acme/b:1", "acme/b:2"))
    for name in ("a", "b", "c"):
        write_member(str(directory / f"{name}.json"), Member(f"{name}:image", WAITING))
    write_member(str(directory / "b.json"), pushed)
    write_member(str(directory / "c.json"), Member("c:image", FAILED))
    (directory / ".nixoci-partial-0123456789abcdef").write_text("{")
    members = read_members(str(directory))
    assert members == [Member("a:image", WAITING), pushed, Member("c:image", FAILED)]
    assert labels(members, WAITING) == ["a:image"]
    assert labels(members, FAILED) == ["c:image"]


def test_a_batch_is_removed(tmp_path: Path) -> None:
    """It, and nothing else that somebody has put there."""
    path = tmp_path / "batch" / "a.json"
    write_member(str(path), Member("a:image", WAITING))
    remove_batch(str(path.parent))
    assert list(tmp_path.iterdir()) == []
    remove_batch(str(path.parent))
    write_member(str(path), Member("a:image", WAITING))
    (path.parent / "other").touch()
    remove_batch(str(path.parent))
    assert [file.name for file in path.parent.iterdir()] == ["other"]


@pytest.mark.parametrize("content", ["", "[]", '{"label":"a"}', '{"label":1,"state":"waiting"}'])
def test_files_that_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidInputError):
        read_members(str(tmp_path))


def test_no_place_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_member(str(tmp_path / "file" / "a.json"), Member("a:image", WAITING))
