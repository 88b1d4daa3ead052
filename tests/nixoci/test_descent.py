"""The way down into a tree, and back."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Iterator, Optional

import pytest
from nixoci.descent import MOST_OPEN, Descent, run_nested, walk

from tests.nixoci.tar.tar_support import (
    far_down,
    few_descriptors,
    names_of_deep_tree,
    write_deep_tree,
)


def in_order(below: str, names: list[str]) -> dict[str, str]:
    return {name: name for name in sorted(names)}


def is_open(descriptor: Optional[int], place: str) -> bool:
    assert descriptor is not None
    return os.path.samestat(os.fstat(descriptor), os.stat(place))


@pytest.mark.parametrize("levels", [0, 1, MOST_OPEN - 1, MOST_OPEN, MOST_OPEN + 1, 3 * MOST_OPEN])
def test_down_and_up(tmp_path: Path, levels: int) -> None:
    """On each level, on the way down and on the way up, the descriptor is that of the directory."""
    write_deep_tree(f"{tmp_path}/t", levels)
    places = [f"{tmp_path}/t" + "/d" * level for level in range(levels + 1)]
    with few_descriptors(MOST_OPEN + 5), Descent() as descent:
        for place in places:
            assert is_open(descent.enter(place if place == places[0] else "d"), place)
        for place in places[::-1]:
            assert is_open(descent.descriptor, place)
            descent.leave()
        assert descent.descriptor is None


def test_up_and_down_again(tmp_path: Path) -> None:
    """From any level, as often as wanted."""
    write_deep_tree(f"{tmp_path}/t", 100)
    with few_descriptors(MOST_OPEN + 5), Descent() as descent:
        descent.enter(f"{tmp_path}/t")
        level = 0
        for step in (100, -80, 75, -95, 60, -60, 40, -1, 1, -40):
            for _ in range(abs(step)):
                if step > 0:
                    descent.enter("d")
                else:
                    descent.leave()
            level += step
            assert is_open(descent.descriptor, f"{tmp_path}/t" + "/d" * level)


def test_a_directory_that_was_moved(tmp_path: Path) -> None:
    write_deep_tree(f"{tmp_path}/t", 2 * MOST_OPEN)
    (tmp_path / "u").mkdir()
    with few_descriptors(MOST_OPEN + 5), Descent() as descent:
        descent.enter(f"{tmp_path}/t")
        for _ in range(2 * MOST_OPEN):
            descent.enter("d")
        os.rename(f"{tmp_path}/t/d/d", f"{tmp_path}/u/d")
        with pytest.raises(OSError, match="moved"):
            for _ in range(2 * MOST_OPEN):
                descent.leave()


def test_links_are_not_entered(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    with Descent() as descent:
        with pytest.raises(OSError):
            descent.enter(f"{tmp_path}/link")
        descent.enter(str(tmp_path))
        with pytest.raises(OSError):
            descent.enter("link")
        assert is_open(descent.descriptor, str(tmp_path))


@pytest.mark.parametrize("levels", [3, 320, 2_100])
def test_everything_is_walked(tmp_path: Path, levels: int) -> None:
    """Each directory before what is in it, each item with its name in the directory that is open."""
    top = f"{tmp_path}/t"
    write_deep_tree(top, levels)
    found = []
    try:
        with few_descriptors(MOST_OPEN + 5):
            for item in far_down(lambda: list(walk(top, in_order))):
                found.append((f"t/{item.path}".rstrip("/"), item.kind, item.depth))
            for item in walk(top, in_order):
                status = os.stat(item.name, dir_fd=item.parent, follow_symlinks=False)
                assert stat.S_IFMT(status.st_mode) == item.kind
                assert item.location == f"{top}/{item.path}".rstrip("/")
    finally:
        subprocess.run(["rm", "-rf", top], check=True)
    assert [path for path, _, _ in found] == names_of_deep_tree("t", levels)
    kinds = {"t": stat.S_IFDIR, "d": stat.S_IFDIR, "y": stat.S_IFLNK, "z": stat.S_IFREG}
    assert all(kind == kinds[path[-1]] for path, kind, _ in found)
    assert all(depth == path.count("/") for path, _, depth in found)


def test_names_are_those_that_were_chosen(tmp_path: Path) -> None:
    """In the order that was chosen; what is left out is not walked."""
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / "pipe")
    asked = []

    def choose(below: str, names: list[str]) -> dict[str, str]:
        asked.append(below)
        return {name.upper(): name for name in sorted(names, reverse=True) if name != "a"}

    items = list(walk(str(tmp_path), choose))
    assert [item.path for item in items] == ["", "B", "B/PIPE"]
    assert [item.kind for item in items] == [stat.S_IFDIR, stat.S_IFDIR, 0]
    assert items[2].location == f"{tmp_path}/b/pipe"
    assert asked == ["", "B/"]


def test_what_is_no_directory_is_walked_alone(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(".")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        assert [item.path for item in walk(f"{tmp_path}/{name}", in_order)] == [""]
    with pytest.raises(FileNotFoundError):
        list(walk(f"{tmp_path}/missing", in_order))


def test_generators_run_in_the_place_where_they_are_yielded() -> None:
    """However deep, and each is closed if one of them fails, the innermost first."""
    done: list[str] = []

    def count(level: int, fail: bool) -> Iterator[Iterator[object]]:
        try:
            if level:
                yield count(level - 1, fail)
                yield count(0, False)
            elif fail:
                raise ValueError("innermost")
        finally:
            done.append(f"{level}")

    run_nested(count(5_000, False))
    assert done[:4] == ["0", "0", "1", "0"] and done[-1] == "5000" and len(done) == 10_001
    done.clear()
    with pytest.raises(ValueError, match="innermost"):
        run_nested(count(3, True))
    assert done == ["0", "1", "2", "3"]
