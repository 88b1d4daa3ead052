"""Names on the disk and true names: what Nix does with its setting `use-case-hack`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from nixoci.errors import NixOciError
from nixoci.store.case_hack import (
    CASE_HACK,
    NoTrueNameError,
    by_true_name,
    true_names,
    without_case_hack,
)
from nixoci.store.nar import NarError, nar_hash, read_nar
from nixoci.store.nix import Nix

from tests.nixoci.store.case_hack_support import (
    HACKED,
    TREES,
    dump,
    has_case_hack,
    never_asked,
    restore,
)
from tests.nixoci.store.nix_support import environment
from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    temporary_directory,
    write_tree,
)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=TREES)
def test_the_nar_of_a_store_of_macos_is_that_of_others(node: Node) -> None:
    """Whatever Nix writes to the disk with the setting has the NAR that it was made of."""
    with temporary_directory() as directory:
        write_tree(os.fsencode(f"{directory}/plain"), node)
        restore(dump(f"{directory}/plain"), f"{directory}/hacked")
        assert read_nar(f"{directory}/hacked", has_case_hack) == read_nar(f"{directory}/plain")


def test_without_the_setting_it_is_a_name_like_others(tmp_path: Path) -> None:
    """The hash is that of Nix in both cases, so it has the name in one of them only."""
    for name in ("x", f"y{CASE_HACK}1", f"y{CASE_HACK}"):
        (tmp_path / "t" / name).mkdir(parents=True)
    (tmp_path / "t" / f"y{CASE_HACK}").rmdir()
    tree = str(tmp_path / "t")
    restore(dump(tree), str(tmp_path / "kept"), "")
    restore(dump(tree, HACKED), str(tmp_path / "cut"), "")
    assert set(os.listdir(tmp_path / "cut")) == {"x", "y"}
    assert nar_hash(tree) == nar_hash(tree, without_case_hack) == nar_hash(str(tmp_path / "kept"))
    assert nar_hash(tree, has_case_hack) == nar_hash(str(tmp_path / "cut"))


@pytest.mark.parametrize(
    "name, true",
    [
        (f"a{CASE_HACK}1", "a"),
        (f"a{CASE_HACK}", "a"),
        (f"a{CASE_HACK}1.txt", "a"),
        (f"a{CASE_HACK}1{CASE_HACK}2", "a"),
        (f"é\udcff{CASE_HACK}17", "é\udcff"),
        ("a~nix~case~hack", "a~nix~case~hack"),
        (f"a{CASE_HACK.upper()}1", f"a{CASE_HACK.upper()}1"),
    ],
)
def test_true_names_are_those_of_nix(tmp_path: Path, name: str, true: str) -> None:
    """The first suffix counts, with all that follows, and in small letters only."""
    assert true_names([name, "other"], has_case_hack) == [(true, name), ("other", "other")]
    assert true_names([name], without_case_hack) == [(name, name)]
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / name).touch()
    restore(dump(str(tmp_path / "t"), HACKED), str(tmp_path / "u"), "")
    assert os.listdir(tmp_path / "u") == [true]


def test_nix_is_asked_only_where_a_name_has_the_suffix() -> None:
    names = ["a", "A", "~nix~case~", "x~nix"]
    assert true_names(names, never_asked("plain names")) == [(name, name) for name in names]
    with pytest.raises(AssertionError):
        true_names([f"a{CASE_HACK}1"], never_asked("a suffix"))


@pytest.mark.parametrize(
    "names",
    [("a", f"a{CASE_HACK}1"), (f"A{CASE_HACK}1", f"A{CASE_HACK}2"), (f"{CASE_HACK}1",)],
)
def test_names_without_a_true_name_of_their_own(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Two that become one, and one of which nothing is left; all are named."""
    with pytest.raises(NoTrueNameError) as caught:
        by_true_name(true_names(["z", *reversed(names)], has_case_hack))
    assert caught.value.names == names
    (tmp_path / "d").mkdir()
    for name in names:
        (tmp_path / "d" / name).touch()
    with pytest.raises(NarError) as wrong:
        nar_hash(str(tmp_path), has_case_hack)
    assert wrong.value.file == str(tmp_path / "d")
    for name in names:
        assert repr(name) in str(wrong.value)
    assert "`use-case-hack`" in str(wrong.value)
    nar_hash(str(tmp_path))


def test_nix_knows_its_setting(tmp_path: Path) -> None:
    """From NIX_CONFIG, nix.conf, or the option `[nix].extra_options`; the default is that of the system."""
    plain = Nix.find(environment(tmp_path))
    assert not plain.has_case_hack()
    variable = Nix.find({**environment(tmp_path), "NIX_CONFIG": HACKED})
    assert variable.has_case_hack()
    (tmp_path / "nix.conf").write_text(HACKED)
    file = Nix.find({**environment(tmp_path), "NIX_CONF_DIR": str(tmp_path)})
    assert file.has_case_hack()
    assert replace(plain, settings=(("use-case-hack", "true"),)).has_case_hack()
    assert not replace(file, settings=(("use-case-hack", "false"),)).has_case_hack()


def test_a_file_is_found_by_its_true_name(tmp_path: Path) -> None:
    """Also through links, whose targets are true names; where nothing has a suffix Nix is not asked."""
    path, other = (f"/nix/store/{digit * 32}-tree" for digit in "12")
    tree: Node = {
        b"A": {b"f": File(b"capital")},
        b"a": {b"F": File(b"other"), b"f": File(b"small"), b"up": Link(b"../ab/c")},
        b"ab": {b"C": File(), b"c": Link(f"{other}/a/f".encode())},
    }
    os.makedirs(f"{tmp_path}/plain/nix/store")
    for place in (path, other):
        write_tree(os.fsencode(f"{tmp_path}/plain{place}"), tree)
        restore(dump(f"{tmp_path}/plain{place}"), f"{tmp_path}/hacked{place}")
    assert f"a{CASE_HACK}1" in os.listdir(f"{tmp_path}/hacked{path}")
    programs = Nix.find(environment(tmp_path)).directory
    for name, directory in (("plain", "/no/such/programs"), ("hacked", programs)):
        environ = {**environment(tmp_path), "NIX_CONFIG": HACKED}
        nix = Nix(directory, environ, known_store=f"{tmp_path}/{name}")
        for file, content in {"A/f": "capital", **dict.fromkeys(("a/f", "a/up", "ab/c"), "small")}.items():
            assert Path(nix.location(f"{path}/{file}")).read_text() == content
        assert not os.path.exists(nix.location(f"{path}/b/f"))


def test_nix_is_asked_once(tmp_path: Path) -> None:
    """Afterwards it may be gone."""
    nix = Nix.find({**environment(tmp_path), "NIX_CONFIG": HACKED})
    moved = replace(nix, directory=f"{tmp_path}/bin")
    os.symlink(nix.directory, moved.directory)
    assert moved.has_case_hack()
    os.unlink(moved.directory)
    assert moved.has_case_hack()


def test_no_room_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to set, and does not blame a store path."""
    monkeypatch.setenv("TMPDIR", "/proc")
    with pytest.raises(NixOciError) as caught:
        Nix.find(environment(tmp_path)).has_case_hack()
    assert "`use-case-hack`" in str(caught.value) and "TMPDIR" in str(caught.value)
