"""The Nix that the other integration tests rely on is real and does what they think."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Mapping

from tests.integration.support import closures, engines, process
from tests.integration.support.nix import Nix, newer_nix


def test_tiny_closure_has_true_references(machine_nix: Nix, tmp_path: Path) -> None:
    """a references b and b references c, and no path references anything else."""
    expression = closures.materialize_tiny_closure(tmp_path)
    a, b, c = machine_nix.build(expression, "a", "b", "c")
    known = machine_nix.path_info(a, recursive=True)
    assert {a: (b,), b: (c,), c: ()} == {path: info.references for path, info in known.items()}


def test_one_word_changes_one_path_of_the_tiny_closure(machine_nix: Nix, tmp_path: Path) -> None:
    """Another word changes `greeting` and leaves all other outputs as they are."""
    attributes = ("a", "several", "several.dev", "several.doc", "greeting")
    before = machine_nix.build(closures.materialize_tiny_closure(tmp_path / "1"), *attributes)
    changed = closures.materialize_tiny_closure(tmp_path / "2", word="goodbye")
    after = machine_nix.build(changed, *attributes)
    assert before[:4] == after[:4]
    assert before[4] != after[4]
    assert Path(after[4]).read_text().startswith("goodbye, /nix/store/")


def test_outputs_of_one_derivation_reference_each_other(machine_nix: Nix, tmp_path: Path) -> None:
    """`several` has an output that references itself and outputs that reference their siblings."""
    expression = closures.materialize_tiny_closure(tmp_path)
    out, dev, doc, c = machine_nix.build(expression, "several", "several.dev", "several.doc", "c")
    known = machine_nix.path_info(out, recursive=True)
    references = {path: set(info.references) for path, info in known.items()}
    assert {out: {dev, c}, dev: {doc}, doc: {doc}, c: set()} == references


def test_debian_closure_stands_alone_and_is_the_same_anywhere(
    machine_nix: Nix, tmp_path: Path
) -> None:
    """Evaluation reads nothing outside the directory, whose place does not change the result."""
    drv_paths = []
    for name in ("one", "two"):
        expression = closures.materialize_debian_closure(tmp_path / name)
        selection = [word for attribute in closures.DEBIAN_ATTRIBUTES for word in ("-A", attribute)]
        restricted = ("--option", "restrict-eval", "true", "-I", str(expression.parent))
        output = machine_nix.run("nix-instantiate", *restricted, expression, *selection)
        drv_paths.append(output.split())
    assert len(closures.DEBIAN_ATTRIBUTES) == len(set(drv_paths[0]))
    assert drv_paths[0] == drv_paths[1]


def test_debian_closure_is_reproducible_in_a_fresh_store(
    machine_nix: Nix, debian_closure: Mapping[str, str], tmp_path: Path
) -> None:
    """Another Nix that builds it in another store gets the same NAR hashes."""
    expression = closures.materialize_debian_closure(tmp_path / "sources")
    fresh = newer_nix("trixie").with_fresh_root(tmp_path / "nix")
    expected = machine_nix.path_info(debian_closure["app"], recursive=True)
    assert expected == fresh.path_info(*fresh.build(expression, "app"), recursive=True)


def test_debian_closure_references_its_libraries(
    machine_nix: Nix, debian_closure: Mapping[str, str]
) -> None:
    """Nix itself found the references: app to python, python to glibc, glibc to nothing."""
    known = machine_nix.path_info(debian_closure["app"], recursive=True)
    python, glibc = debian_closure["python"], debian_closure["glibc"]
    assert python in known[debian_closure["app"]].references
    assert glibc in known[python].references
    assert () == known[glibc].references
    assert debian_closure["nix"] not in known


def test_debian_closure_runs_alone(
    machine_nix: Nix, debian_closure: Mapping[str, str], tmp_path: Path
) -> None:
    """A root file system of nothing but the closure runs its shell, coreutils, Python and zlib."""
    app = debian_closure["app"]
    paths = list(machine_nix.path_info(app, recursive=True))
    root = engines.copy_to_root_file_system(paths, tmp_path / "root")
    lines = engines.run_in_bwrap(root, [f"{app}/bin/app"]).stdout.splitlines()
    assert "hello from app" == lines[0]
    assert lines[1].startswith("python 3.11.") and "OpenSSL 3" in lines[1]
    python = f"{debian_closure['python']}/bin/python3"
    assert "3\n" == engines.run_in_bwrap(root, [python, "-c", "print(1 + 2)"]).stdout


def test_nix_of_the_debian_closure_runs_alone(
    machine_nix: Nix, debian_closure: Mapping[str, str], tmp_path: Path
) -> None:
    """Nix 2.8 runs in a root file system that holds nothing but its closure."""
    paths = list(machine_nix.path_info(debian_closure["nix"], recursive=True))
    root = engines.copy_to_root_file_system(paths, tmp_path / "root")
    program = f"{debian_closure['nix']}/bin/nix"
    # There is no /etc/passwd to look the home up in.
    result = engines.run_in_bwrap(root, [program, "--version"], env={"HOME": "/"})
    assert "nix (Nix) 2.8.0\n" == result.stdout


def test_synthetic_closure_is_odd(machine_nix: Nix, tmp_path: Path) -> None:
    """It has the names, types and sizes that its users count on, in the number asked for."""
    expression = closures.materialize_synthetic_closure(
        tmp_path, outputs=5, files=300, size=40_000_000
    )
    paths = machine_nix.build(expression, "synth", *(f"synth.p{i}" for i in range(1, 5)))
    known = machine_nix.path_info(*paths)
    assert set(paths) == set(known)
    assert known[paths[0]].references
    assert set().union(*(info.references for info in known.values())) <= set(paths)
    assert 30_000_000 < sum(info.nar_size for info in known.values()) < 60_000_000

    names, sizes, modes = set(), [], set()
    for path in paths:
        for directory, directories, files in os.walk(os.fsencode(path)):
            for name in directories + files:
                status = os.lstat(os.path.join(directory, name))
                names.add(name)
                modes.add(stat.filemode(status.st_mode))
                if stat.S_ISREG(status.st_mode):
                    sizes.append(status.st_size)
    assert {b"x" * 255, b"latin-1-\xe9"} <= names
    assert any(b"\n" in name for name in names) and any("🦊".encode() in name for name in names)
    assert {"dr-xr-xr-x", "-r--r--r--", "-r-xr-xr-x", "lrwxrwxrwx"} == modes
    assert max(sizes) > 8 << 20
    assert 300 == sum(size != 30000 for size in sizes) - len(paths)


def test_newer_nix_works_on_the_store_of_the_machine(
    machine_nix: Nix, newer_nix: Nix, tmp_path: Path
) -> None:
    """A newer Nix is no old one, builds into this machine's store, and both read the same there.

    The machine's own may be as new.
    """
    assert newer_nix.version() >= (2, 26)
    word = f"version {newer_nix.version()} {tmp_path}"
    expression = closures.materialize_tiny_closure(tmp_path, word=word)
    (greeting,) = newer_nix.build(expression, "greeting")
    assert Path(greeting).read_text().startswith(word)
    expected = machine_nix.path_info(greeting, recursive=True)
    assert expected == newer_nix.path_info(greeting, recursive=True)


def test_newer_nix_is_found_by_path(newer_nix: Nix) -> None:
    """With the environment of a newer Nix, plain `nix` and `nix-store` are that Nix."""
    for program in ("nix", "nix-store", "nix-instantiate"):
        argv = ["/bin/sh", "-c", f"exec {program} --version"]
        words = process.run(argv, env=newer_nix.environment()).stdout.split()
        assert newer_nix.version() == tuple(map(int, words[-1].split(".")))


def test_chroot_store_takes_a_closure(machine_nix: Nix, tmp_path: Path) -> None:
    """A store below a directory has the copied closure and nothing else, known as in the first."""
    (a,) = machine_nix.build(closures.materialize_tiny_closure(tmp_path), "a")
    store = machine_nix.chroot_store(tmp_path / "root")
    machine_nix.copy_closure([a], store)
    expected = machine_nix.path_info(a, recursive=True)
    assert expected == store.path_info(a, recursive=True)
    base_names = {Path(path).name for path in expected}
    assert base_names | {".links"} == set(os.listdir(tmp_path / "root" / "nix" / "store"))


def test_fresh_root_builds_without_touching_the_store(machine_nix: Nix, tmp_path: Path) -> None:
    """A build under a fresh /nix has the same result, and the machine's /nix never sees it."""
    word = f"fresh {tmp_path}"
    expression = closures.materialize_tiny_closure(tmp_path, word=word)
    fresh = machine_nix.with_fresh_root(tmp_path / "nix")
    (greeting,) = fresh.build(expression, "greeting")
    assert not os.path.lexists(greeting)
    assert (tmp_path / "nix" / "store" / Path(greeting).name).is_file()
    assert [greeting] == machine_nix.build(expression, "greeting")
    assert machine_nix.path_info(greeting) == fresh.path_info(greeting)


def test_newer_nix_builds_in_a_fresh_root(tmp_path: Path) -> None:
    """A mount over /nix and a newer Nix go together."""
    expression = closures.materialize_tiny_closure(tmp_path)
    fresh = newer_nix("trixie").with_fresh_root(tmp_path / "nix")
    assert 3 == len(fresh.path_info(*fresh.build(expression, "a"), recursive=True))
