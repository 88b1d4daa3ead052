"""Tests of `nixoci.store.evaluate`, with the Nix of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nixoci
import pytest
from nixoci.descent import walk
from nixoci.errors import InvalidInputError
from nixoci.store.evaluate import EXECUTABLES, Derivation, evaluate, prepare
from nixoci.store.messages.evaluation import (
    EvaluationError,
    ImportFromDerivationError,
    UndeclaredSourceError,
    UnknownOutputPathError,
)
from nixoci.store.nix import Nix
from nixoci.store.path import StorePath

from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.evaluate_support import ONE, SEVERAL, evaluated, file_with, flake_with
from tests.nixoci.store.nix_support import SYSTEM, environment, nix, shell_derivation, write_tree
from tests.nixoci.tar.tar_support import far_down, write_deep_tree


def test_an_attribute_of_a_file(tmp_path: Path) -> None:
    """The derivation is instantiated, and its output paths are known before anything is built."""
    found = evaluated(tmp_path, file_with(tmp_path / "s", f"one = {ONE};"), "one")
    assert found.drv_path is not None and "one.drv" == found.drv_path.name
    assert ["out"] == [name for name, _ in found.outputs] and "out" == found.default_output
    paths = tuple(path for _, path in found.outputs)
    assert () == nix(tmp_path).invalid([found.drv_path])
    assert found.outputs[0][1].name == "one"
    # Whether it was built by somebody else is not known; Nix itself names the same output.
    output = nix(tmp_path).run(("nix-store", "--query", "--outputs", found.drv_path))
    assert list(paths) == output.decode().split()


def test_a_file_without_an_attribute(tmp_path: Path) -> None:
    """A file may be the derivation itself, or a function that gives it, as for `nix-build`."""
    let = f'let system = "{SYSTEM}"; in'
    files = {
        "value.nix": f"{let} {ONE}",
        "system.nix": f"{{ system }}: {ONE}",
        "default.nix": f"{{ system ? builtins.currentSystem, other ? 1 }}: {ONE}",
        "any.nix": f"{{ system, ... }}: {ONE}",
        "ignored.nix": f"{{ }}: {let} {ONE}",
    }
    root = write_tree(tmp_path / "s", files)
    assert 1 == len({evaluated(tmp_path, root, source=source) for source in files})


def test_an_attribute_that_is_a_function(tmp_path: Path) -> None:
    """It is called as well; an argument that it lacks is Nix's error."""
    attributes = f"plain = {ONE}; called = {{ system }}: {ONE}; lacks = {{ other }}: {ONE};"
    root = file_with(tmp_path / "s", attributes)
    assert evaluated(tmp_path, root, "plain") == evaluated(tmp_path, root, "called")
    with pytest.raises(EvaluationError, match="without required argument 'other'"):
        evaluated(tmp_path, root, "lacks")


def test_a_file_and_a_flake_give_the_same_derivation(tmp_path: Path) -> None:
    """What is evaluated decides, and not what it is evaluated in."""
    file = file_with(tmp_path / "file", f"one = {ONE};")
    flake = flake_with(tmp_path / "flake", f"one = {ONE}; default = {ONE};")
    expected = evaluated(tmp_path, file, "one")
    assert expected == evaluated(tmp_path, flake, "one", "flake.nix")
    assert expected == evaluated(tmp_path, flake, "", "flake.nix")
    assert expected == evaluated(tmp_path, flake, f"packages.{SYSTEM}.one", "flake.nix")


def test_several_outputs(tmp_path: Path) -> None:
    """All outputs are named; the default one is the first that the derivation names."""
    found = evaluated(tmp_path, file_with(tmp_path / "s", f"several = {SEVERAL};"), "several")
    assert ["dev", "doc", "out"] == [name for name, _ in found.outputs]
    assert "dev" == found.default_output
    names = {name: path.name for name, path in found.outputs}
    assert {"dev": "several-dev", "doc": "several-doc", "out": "several"} == names


def test_an_output_that_is_selected_is_the_default(tmp_path: Path) -> None:
    """`attr.doc` is the same derivation, of which `doc` is meant."""
    root = file_with(tmp_path / "s", f"several = {SEVERAL};")
    whole, selected = (evaluated(tmp_path, root, attr) for attr in ("several", "several.doc"))
    assert ("doc", whole.outputs) == (selected.default_output, selected.outputs)
    assert whole.drv_path == selected.drv_path


@pytest.mark.parametrize("name", ["b.c", "-x", "ä ö", "#?%26&", "${x}", "a'b", "$(id)", "'"])
@pytest.mark.parametrize("source", ["default.nix", "flake.nix"])
def test_odd_attribute_names(tmp_path: Path, source: str, name: str) -> None:
    """A quoted attribute is found, whatever its name would mean to a shell, a URL or an option."""
    quoted = '"' + name.replace("${", "\\${") + '"'
    attributes = f"{quoted} = {ONE}; other = {SEVERAL};"
    make = flake_with if source == "flake.nix" else file_with
    found = evaluated(tmp_path, make(tmp_path / "s", attributes), f'"{name}"', source)
    assert found.drv_path is not None and "one.drv" == found.drv_path.name


@pytest.mark.parametrize("attr", ["-x", "--help", "--option"])
def test_an_attribute_that_is_an_option_is_refused(tmp_path: Path, attr: str) -> None:
    """A leading dash never reaches Nix's command line; in quotes it is a name."""
    with pytest.raises(InvalidInputError, match="attribute path") as caught:
        evaluated(tmp_path, file_with(tmp_path / "s", ""), attr)
    assert attr == caught.value.value


@pytest.mark.parametrize("name", ["a b", "a#b?c=d", "a%20b", "a+b", "ä", "a=b"])
@pytest.mark.parametrize("source", ["default.nix", "flake.nix"])
def test_odd_directory_names(tmp_path: Path, source: str, name: str) -> None:
    """The place of the sources may have any name, and does not change the derivation."""
    make = flake_with if source == "flake.nix" else file_with
    here = evaluated(tmp_path, make(tmp_path / name, f"one = {ONE};"), "one", source)
    assert here == evaluated(tmp_path, make(tmp_path / "plain", f"one = {ONE};"), "one", source)


def test_other_files_below_the_root_can_be_read(tmp_path: Path) -> None:
    """A file sees what is beside, above and below it in the root."""
    root = write_tree(
        tmp_path / "s",
        {
            "sub/a.nix": "{ system }: import ../lib.nix system ./data.txt",
            "lib.nix": f"system: file: {shell_derivation('x', '${builtins.readFile file}')}",
            "sub/data.txt": "echo",
        },
    )
    assert "x.drv" == str(evaluated(tmp_path, root, source="sub/a.nix").drv_path)[-5:]


@pytest.mark.parametrize("source", ["../other/flake.nix", "../other/default.nix", "link/flake.nix"])
def test_a_source_outside_the_root_is_refused(tmp_path: Path, source: str) -> None:
    """Neither dots nor a symbolic link lead to a flake that was not declared."""
    flake_with(file_with(tmp_path / "other", f"default = {ONE};"), f"default = {ONE};")
    root = file_with(tmp_path / "s", "")
    (root / "link").symlink_to(tmp_path / "other")
    for path in (source, str(tmp_path / "other" / "flake.nix")):
        with pytest.raises(InvalidInputError, match="not below the root"):
            evaluated(tmp_path, root, "default", path)


@pytest.mark.parametrize("source", ["default.nix", "flake.nix"])
def test_the_same_files_give_the_same_derivation(tmp_path: Path, source: str) -> None:
    """Neither the place of a copy nor the times of its files get into the derivation."""
    # All that a flake is told of itself, and the whole directory as an input.
    told = "${./.} ${toString (self.lastModified or 0)}" if source == "flake.nix" else "${./.}"
    attributes = f"a = {shell_derivation('a', told)};"
    make = flake_with if source == "flake.nix" else file_with
    roots = [make(tmp_path / name / "s", attributes) for name in ("one", "other/deeper")]
    os.utime(roots[1] / source, (1_600_000_000, 1_600_000_000))
    os.utime(roots[1], (1_700_000_000, 1_700_000_000))
    one, other = (evaluated(tmp_path, root, "a", source, root_is_copy=True) for root in roots)
    assert one == other


@pytest.mark.parametrize("source", ["default.nix", "flake.nix"])
def test_the_machine_does_not_leak_in(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment variables, the current directory and NIX_PATH change nothing."""
    read = " ".join(f'${{builtins.getEnv "{name}"}}' for name in ("HOME", "PWD", "SECRET", "PATH"))
    lookup = "${toString (builtins.length builtins.nixPath)}" if source != "flake.nix" else ""
    make = flake_with if source == "flake.nix" else file_with
    root = make(tmp_path / "s", f"a = {shell_derivation('a', read + lookup)};")
    expected = evaluated(tmp_path, root, "a", source)
    other = {"HOME": str(tmp_path / "h"), "SECRET": "x", "NIX_PATH": "nixpkgs=/etc:b=/tmp"}
    (tmp_path / "h").mkdir()
    monkeypatch.chdir(tmp_path / "h")
    for name, value in other.items():
        monkeypatch.setenv(name, value)
    changed = Nix.find({**environment(tmp_path), **other})
    found = evaluate(changed, root=str(root), source=source, attr="a", system=SYSTEM)
    assert expected == found
    text = Path(str(found.drv_path)).read_text()
    assert str(tmp_path) not in text and "SECRET" not in text


def test_a_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root is found from the current directory, and through a symbolic link."""
    root = file_with(tmp_path / "s", f"one = {ONE};")
    (tmp_path / "link").symlink_to(root)
    expected = evaluated(tmp_path, root, "one")
    monkeypatch.chdir(tmp_path)
    assert (
        expected
        == evaluated(tmp_path, Path("s"), "one")
        == evaluated(tmp_path, Path("link"), "one")
    )


def test_the_system_is_the_one_asked_for(tmp_path: Path) -> None:
    """Evaluation for another system needs no such machine; it is another derivation."""
    current = shell_derivation("a", "x").replace(
        "inherit system", "system = builtins.currentSystem"
    )
    root = file_with(tmp_path / "s", f"given = {ONE}; current = {current};")
    for attr in ("given", "current"):
        drv_paths = set()
        for system in (SYSTEM, "aarch64-linux"):
            found = evaluate(
                nix(tmp_path), root=str(root), source="default.nix", attr=attr, system=system
            )
            assert f'"{system}"' in Path(str(found.drv_path)).read_text()
            drv_paths.add(found.drv_path)
        assert 2 == len(drv_paths)


_FLOATING = '__contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";'
_IMPURE = '__impure = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";'


def _drv(name: str, more: str = "") -> str:
    return shell_derivation(name, f"echo {name} $dep > $out", more)


@pytest.mark.parametrize(
    ("attr", "cause", "impure", "is_dependency"),
    [
        ("floating", "floating", False, False),
        ("several", "several", False, False),
        ("user", "floating", False, True),
        ("user-user", "floating", False, True),
        ("impure", "impure", True, False),
        ("user-of-impure", "impure", True, True),
        ("floating-of-impure", "floating-of-impure", False, False),
    ],
)
def test_output_paths_that_are_not_known(
    tmp_path: Path, attr: str, cause: str, impure: bool, is_dependency: bool
) -> None:
    """Instead of them Nix has placeholders, for floating derivations and all that depends on them."""
    attributes = {
        "floating": _drv("floating", _FLOATING),
        "several": _drv("several", _FLOATING + 'outputs = [ "out" "dev" ];'),
        "user": _drv("user", "dep = floating;"),
        "user-user": _drv("user-user", "dep = user;"),
        "impure": _drv("impure", _IMPURE),
        "user-of-impure": _drv("user-of-impure", "dep = impure;"),
        "floating-of-impure": _drv("floating-of-impure", _FLOATING + "dep = impure;"),
    }
    texts = " ".join(f"{name} = {text};" for name, text in attributes.items())
    root = write_tree(tmp_path / "s", {"default.nix": f"{{ system }}: rec {{ {texts} }}"})
    with pytest.raises(UnknownOutputPathError) as caught:
        evaluate(
            nix(tmp_path),
            root=str(root),
            source="default.nix",
            attr=attr,
            system=SYSTEM,
            features=("ca-derivations", "impure-derivations"),
        )
    (path,) = caught.value.causes
    assert f"{cause}.drv" == StorePath.parse(path).name
    assert (impure, is_dependency) == (caught.value.impure, caught.value.is_dependency)
    assert path in str(caught.value)


def test_known_output_paths_above_floating_ones(tmp_path: Path) -> None:
    """The path of a fixed output is known whatever it is made with, and others have nothing to do with it."""
    sha256 = 'outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputHash = "sha256-' + 43 * "A" + '=";'
    attributes = (
        f"floating = {_drv('floating', _FLOATING)}; fixed = {_drv('fixed', 'dep = floating;' + sha256)}; "
        f"other = {_drv('other')};"
    )
    root = write_tree(tmp_path / "s", {"default.nix": f"{{ system }}: rec {{ {attributes} }}"})
    for attr in ("fixed", "other"):
        found = evaluate(
            nix(tmp_path),
            root=str(root),
            source="default.nix",
            attr=attr,
            system=SYSTEM,
            features=("ca-derivations",),
        )
        assert [attr] == [path.name for _, path in found.outputs]


@pytest.mark.parametrize(
    ("more", "system"),
    [
        ("", SYSTEM),
        ('// { stdenv.hostPlatform.system = "aarch64-linux"; }', "aarch64-linux"),
        ('// { stdenv = { }; }', SYSTEM),
        ('// { stdenv = "text"; }', SYSTEM),
        ("// { stdenv.hostPlatform.system = null; }", SYSTEM),
        ('// { stdenv.hostPlatform = throw "no platform"; }', SYSTEM),
        ('// { system = "aarch64-linux"; }', "aarch64-linux"),
    ],
)
def test_the_system_of_the_outputs(tmp_path: Path, more: str, system: str) -> None:
    """What a derivation of nixpkgs is for is the host's system, whatever builds it."""
    found = evaluated(tmp_path, file_with(tmp_path / "s", f"one = {ONE} {more};"), "one")
    assert system == found.system
    assert found == Derivation.from_json(found.to_json())
    flake = flake_with(tmp_path / "flake", f"one = {ONE} {more};")
    assert system == evaluated(tmp_path, flake, "one", "flake.nix").system


def test_a_derivation_of_another_system(tmp_path: Path) -> None:
    """A file need not use the system that it is asked for."""
    text = f'let system = "aarch64-linux"; in {ONE}'
    root = write_tree(tmp_path / "s", {"default.nix": text})
    assert "aarch64-linux" == evaluated(tmp_path, root).system


def test_a_derivation_without_a_system(tmp_path: Path) -> None:
    """What Nix itself builds is for every system; a set that only looks like a derivation is for the target's."""
    text = """{
      builtin = derivation {
        name = "file"; system = "builtin"; builder = "builtin:fetchurl"; url = "http://localhost/file";
        outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "sha256-%s=";
      };
      set = let one = let system = "x86_64-linux"; in %s; in
        { type = "derivation"; inherit (one) drvPath outPath; out = one; };
    }"""
    root = write_tree(tmp_path / "s", {"default.nix": text % (43 * "A", ONE)})
    assert evaluated(tmp_path, root, "builtin").system is None
    assert SYSTEM == evaluated(tmp_path, root, "set").system


def test_json_round_trip() -> None:
    """What `to_json` writes is read back; outputs are sorted by name whatever the order."""
    outputs = (("dev", store_path("dev")), ("out", store_path("out")))
    for drv_path in (store_path("x.drv"), None):
        derivation = Derivation(drv_path, outputs, "out")
        assert derivation == Derivation.from_json(derivation.to_json())
        turned = Derivation(drv_path, outputs[::-1], "out")
        assert derivation.to_json() == turned.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"drvPath": "/etc/passwd"},
        {"drvPath": 1},
        {"outputs": []},
        {"outputs": {}},
        {"outputs": {"out": "/etc"}},
        {"outputs": {"out": None}},
        {"outputs": {"out": store_path("x"), "\ud800": store_path("x")}},
        {"outputs": {"out": store_path("x"), "": store_path("x")}},
        {"outputs": {"out": store_path("x"), "a\0b": store_path("x")}},
        {"outputs": {"out": store_path("x"), "a!b": store_path("x")}},
        {"outputs": None},
        {"default": "dev"},
        {"default": None},
        {"default": 1},
        {"system": 1},
        {"system": ["x86_64-linux"]},
    ],
)
def test_a_hostile_derivation_is_refused(change: dict[str, Any]) -> None:
    """One value of the wrong type or form spoils it."""
    good = {"drvPath": store_path("x.drv"), "outputs": {"out": store_path("x")}, "default": "out"}
    assert (
        StorePath.parse(store_path("x"))
        == Derivation.from_json(json.dumps(good).encode()).outputs[0][1]
    )
    with pytest.raises(InvalidInputError):
        Derivation.from_json(json.dumps({**good, **change}).encode())


def test_modes_of_sources_are_those_that_are_listed(tmp_path: Path) -> None:
    """Nix sees of a file whether it is executable. A hard link into somebody's cache is as well what
    the list says, and leaves mode and time of the cached file as they were."""
    cached = tmp_path / "cached"
    cached.write_text("a large file")
    cached.chmod(0o555)
    before = cached.stat()
    found = []
    for name, listed in (("linked", []), ("copied", []), ("linked", ["file"])):
        root = tmp_path / str(len(found)) / "s"
        file_with(root, f"one = {shell_derivation('one', 'cat ${./file} > $out')};")
        if name == "linked":
            os.link(cached, root / "file")
        else:
            (root / "file").write_text("a large file")
        Path(f"{root}{EXECUTABLES}").write_text(json.dumps({"executables": listed}))
        found.append(evaluated(tmp_path, root, "one", root_is_copy=True))
    assert found[0] == found[1] != found[2]
    after = cached.stat()
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)


def _state(root: Path) -> dict[str, tuple[int, ...]]:
    """Returns what Nix and others see of each file and directory."""
    found = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns)
    return found


def _sources(directory: Path) -> Path:
    """Returns sources of somebody, with all that a copy of them may be changed in."""
    root = directory / "s"
    flake_with(file_with(root, f"one = {ONE};"), f"one = {ONE};")
    (root / "deeper").mkdir()
    (root / "deeper" / "file").write_text("")
    (root / "deeper" / "link").symlink_to("file")
    os.link(root / "deeper" / "file", directory / "cached")
    Path(f"{root}{EXECUTABLES}").write_text(json.dumps({"executables": ["deeper/file"]}))
    return root


@pytest.mark.parametrize("source", ["default.nix", "flake.nix"])
def test_sources_of_others_are_not_touched(tmp_path: Path, source: str) -> None:
    """Only where it is said that the root is a copy, times and modes in it are set."""
    root = _sources(tmp_path)
    before = _state(root)
    found = evaluated(tmp_path, root, "one", source)
    assert _state(root) == before
    assert found == evaluated(tmp_path, root, "one", source, root_is_copy=True)
    after = _state(root)
    assert {mtime for _, _, mtime, _ in after.values()} == {1_000_000_000}
    assert (root / "deeper" / "file").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "attr, source",
    [
        ("one", "nosuch.nix"),
        ("--option", "default.nix"),
        ("one", "../outside/default.nix"),
        ("one", "deeper"),
    ],
)
def test_nothing_is_touched_before_the_arguments_are_right(
    tmp_path: Path, attr: str, source: str
) -> None:
    """Not even a copy."""
    root = _sources(tmp_path)
    file_with(tmp_path / "outside", "")
    before = _state(root)
    with pytest.raises((InvalidInputError, UndeclaredSourceError)):
        evaluated(tmp_path, root, attr, source, root_is_copy=True)
    assert _state(root) == before


def test_a_home_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says so is mistaken."""
    root = _sources(tmp_path)
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("HOME", str(root))
    before = _state(root)
    for path in (root, tmp_path / "link", root / "deeper" / ".."):
        with pytest.raises(InvalidInputError, match="it is no copy of sources"):
            evaluated(tmp_path, path, "one", root_is_copy=True)
    assert _state(root) == before


@pytest.mark.parametrize("options", [[], ["--root-is-copy"]])
def test_the_root_of_the_machine_is_not_touched(tmp_path: Path, options: list[str]) -> None:
    """The machine is mounted without a way to write to it, and nobody tries to."""
    (tmp_path / "link").symlink_to("/")
    for root in ("/", str(tmp_path / "link")):
        result = subprocess.run(
            [
                *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev"),
                *(sys.executable, "-B", "-m", "nixoci", "evaluate", "--root", root, *options),
                *("--source", "etc/nosuch.nix"),
            ],
            env={**environment(tmp_path), "PYTHONPATH": str(Path(nixoci.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1 and "Cannot set" not in result.stderr, result.stderr
        why = "is no copy of sources" if options else "etc/nosuch.nix does not exist"
        assert why in result.stderr


def test_features_of_nix_are_an_input(tmp_path: Path) -> None:
    """They change what an expression means, so they are given with the sources."""
    root = tmp_path / "s"
    name = '${if builtins ? fetchClosure then "with" else "without"}'
    file_with(root, f"one = {shell_derivation(name, 'echo > $out')};")
    found = [
        evaluate(
            nix(tmp_path),
            root=str(root),
            source="default.nix",
            attr="one",
            system=SYSTEM,
            features=features,
        ).drv_path
        for features in ((), ("fetch-closure",))
    ]
    assert [str(path).partition("-")[2] for path in found] == ["without.drv", "with.drv"]


def test_sources_far_down(tmp_path: Path) -> None:
    """Modes and times are set however deep the directories are in one another."""
    root = f"{tmp_path}/s"
    write_deep_tree(root, 1_200)
    (tmp_path / "s" / "default.nix").touch()
    deepest = "d/" * 1_175 + "z"
    Path(f"{root}{EXECUTABLES}").write_text(json.dumps({"executables": [deepest]}))
    try:
        far_down(lambda: prepare(root, "default.nix", "", True))
        found = {}
        for item in walk(root, lambda below, names: dict(zip(names, names))):
            status = os.stat(item.name, dir_fd=item.parent, follow_symlinks=False)
            assert status.st_mtime == 1
            found[item.path] = status.st_mode & 0o777
    finally:
        subprocess.run(["rm", "-rf", root], check=True)
    assert len(found) == 1_201 + 2 * 48 + 1
    assert found[deepest] == 0o755 and found["z"] == found["default.nix"] == 0o644


@pytest.mark.parametrize("accepted", ("nix.conf", "saved", ""))
def test_the_settings_of_a_flake_do_not_count(tmp_path: Path, accepted: str) -> None:
    """Also for a user who accepts those of all flakes, or has accepted these once."""
    root = write_tree(
        tmp_path / "s",
        {
            "flake.nix": "{ nixConfig.allow-import-from-derivation = true; outputs = { self }: let "
            f'system = "{SYSTEM}"; in {{ packages.{SYSTEM}.default = import ({ONE}); }}; }}'
        },
    )
    found = {**environment(tmp_path)}
    if accepted == "nix.conf":
        found["NIX_CONFIG"] += "accept-flake-config = true\n"
    if accepted == "saved":
        saved = {"allow-import-from-derivation": {"true": True}}
        write_tree(tmp_path, {".local/share/nix/trusted-settings.json": json.dumps(saved)})
    with pytest.raises(ImportFromDerivationError):
        evaluate(Nix.find(found), root=str(root), source="flake.nix", attr="", system=SYSTEM)
