"""What programs of a real closure load, as the core reads it from the store and as their loader says it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Mapping

import pytest
from nixoci.elf.facts import facts_from_json, read_elf
from nixoci.elf.search import LIBRARY, LOADER, Missing, missing_libraries, store_directories
from nixoci.elf.store_facts import StoreLibraries, StoreLibrariesRequest
from nixoci.store.hashes import to_sri
from nixoci.store.path import StorePath

from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.store_images import nixoci
from tests.integration.support.tools import tool

NOT_VALID = 75


def _request(
    nix: Nix, roots: list[str], programs: list[str], directories: list[str]
) -> StoreLibrariesRequest:
    known = nix.path_info(*roots, recursive=True)
    hashes = ((StorePath.parse(p), to_sri(bytes.fromhex(i.nar_hash))) for p, i in known.items())
    return StoreLibrariesRequest(tuple(hashes), tuple(programs), tuple(directories))


def _ask(nix: Nix, request: StoreLibrariesRequest, directory: Path) -> StoreLibraries:
    file = directory / "request.json"
    file.write_bytes(request.to_json())
    nixoci(nix, "store-libraries", file, f"--output={directory}/answer.json")
    return StoreLibraries.from_json((directory / "answer.json").read_bytes())


def _listed(loader: str, program: str) -> set[str]:
    """Returns the names that `ld.so --list` has, of all that it loads."""
    lines = run([loader, "--list", program]).stdout.splitlines()
    names = {os.path.basename(line.split()[0]) for line in lines}
    return names - {"linux-vdso.so.1", os.path.basename(os.path.realpath(loader))}


@pytest.fixture(scope="module")
def programs(debian_closure: Mapping[str, str]) -> dict[str, str]:
    return {
        "python": f"{debian_closure['python']}/bin/python3",
        "bash": f"{debian_closure['bash']}/bin/sh",
        "cp": f"{debian_closure['coreutils']}/bin/cp",
        "nix": f"{debian_closure['nix']}/bin/nix",
    }


def test_programs_load_what_their_loader_says(
    machine_nix: Nix, debian_closure: Mapping[str, str], programs: Mapping[str, str], tmp_path: Path
) -> None:
    """Each name of `ld.so --list`, and no other; the script of a package has those of its shell."""
    script = f"{debian_closure['app']}/bin/app"
    lib = f"{debian_closure['python']}/lib"
    roots = [debian_closure[name] for name in ("python", "bash", "coreutils", "nix", "app")]
    request = _request(machine_nix, roots, [*programs.values(), script], [lib, f"{lib}/nosuch"])
    answer = _ask(machine_nix, request, tmp_path)
    known = {program.path: program for program in answer.programs}
    loader = f"{debian_closure['glibc']}/lib/ld-linux-x86-64.so.2"
    for program in programs.values():
        assert known[program].loader == loader
        names = {os.path.basename(os.path.realpath(loader)), os.path.basename(loader)}
        assert set(known[program].loaded) - names == _listed(loader, program) - names
        assert "libc.so.6" in known[program].loaded
    assert known[script].loaded == known[programs["bash"]].loaded
    directories = dict(answer.directories)
    assert directories[lib] == tuple(sorted(os.listdir(lib)))
    assert directories[f"{lib}/nosuch"] == ()
    # That glibc was built for another place than the store.
    said = run([loader, "--help"]).stdout
    assert known[programs["python"]].defaults
    assert all(f"{directory} (system search path)" in said for directory in known[programs["python"]].defaults)


def test_a_chroot_store_has_the_same_answer(
    machine_nix: Nix, debian_closure: Mapping[str, str], programs: Mapping[str, str], tmp_path: Path
) -> None:
    """And one that lacks a path says so, with the status that stands for it."""
    python = debian_closure["python"]
    request = _request(machine_nix, [python], [programs["python"]], [f"{python}/lib"])
    store = machine_nix.chroot_store(tmp_path / "root")
    file = tmp_path / "request.json"
    file.write_bytes(request.to_json())
    result = nixoci(store, "--json-errors", "store-libraries", file, check=False)
    assert result.returncode == NOT_VALID
    assert set(json.loads(result.stdout)["paths"]) == set(request.paths)
    machine_nix.copy_closure([python], store)
    here = _ask(machine_nix, request, tmp_path)
    assert _ask(store, request, tmp_path) == here
    assert here.programs[0].loaded


def test_an_image_of_foreign_files_on_python(
    machine_nix: Nix, debian_closure: Mapping[str, str], programs: Mapping[str, str], tmp_path: Path
) -> None:
    """What is missing is what the closure's loader does not find either; what helps, helps there."""
    python, nix_package = debian_closure["python"], debian_closure["nix"]
    libstdcxx = "libstdc++.so.6"
    # A library and a program that look where distributions have things.
    source = Path(f"{nix_package}/lib/nix/libnixutil.so")
    if not source.is_file():
        (source,) = Path(nix_package).rglob("libnixutil.so")
    contents = tmp_path / "contents"
    contents.mkdir()
    files = {"/app/module.so": source, "/app/tool": Path(os.path.realpath("/bin/ls"))}
    names = {}
    for path, original in files.items():
        copy = tmp_path / "copy"
        shutil.copyfile(original, copy)
        if path.endswith(".so"):
            run([tool("patchelf"), "--remove-rpath", copy])
        data = copy.read_bytes()
        names[path] = hashlib.sha256(data).hexdigest()
        (contents / names[path]).write_bytes(data)
    (contents / hashlib.sha256(b"text").hexdigest()).write_text("text")
    nixoci(machine_nix, "elf-facts", contents, f"--output={tmp_path}/facts.json")
    by_name = facts_from_json((tmp_path / "facts.json").read_bytes())
    assert set(by_name) == set(names.values())
    facts = {path: by_name[name] for path, name in names.items()}
    assert facts["/app/tool"] == read_elf("/bin/ls")

    roots = [python, nix_package]
    request = _request(machine_nix, roots, [programs["python"]], [])
    store_paths = request.paths
    path = programs["python"]
    plain: dict[str, None] = dict.fromkeys(facts)
    answer = _ask(machine_nix, request, tmp_path)

    def judge(answer: StoreLibraries, *library_path: str) -> tuple[Missing, ...]:
        return missing_libraries(
            *(facts, plain, answer),
            store_paths=store_paths,
            programs=[path],
            library_path=library_path,
        )

    loader = answer.programs[0].loader
    assert loader is not None

    def not_found(*library_path: str) -> set[str]:
        """What the loader does not find in the image, of what the library needs itself."""
        module = "/app/module.so"
        listed = run(
            [
                *(tool("bwrap"), "--unshare-all", "--die-with-parent"),
                *("--ro-bind", "/nix/store", "/nix/store"),
                *("--ro-bind", contents / names[module], module),
                *("--setenv", "LD_TRACE_LOADED_OBJECTS", "1"),
                *("--setenv", "LD_LIBRARY_PATH", ":".join(library_path)),
                *(str(loader), module),
            ]
        ).stdout
        return set(re.findall(r"(\S+) => not found", listed)) & set(facts[module].needed)

    found = judge(answer)
    interpreter = facts["/app/tool"].interpreter
    assert Missing("/app/tool", interpreter or "", LOADER) in found
    lost = {lack.name for lack in found if lack.file == "/app/module.so"}
    assert {lack.kind for lack in found if lack.file == "/app/module.so"} == {LIBRARY}
    assert libstdcxx in lost
    # Python has loaded some, and the loader of a Nix package would look where it is itself; Debian's does
    # not.
    others = {*answer.programs[0].loaded, *os.listdir(os.path.dirname(loader))}
    assert lost == not_found() - others

    library_path = [f"{nix_package}/lib", f"{nix_package}/lib/nix", os.path.dirname(loader)]
    directories = store_directories(
        facts, plain, store_paths=store_paths, library_path=library_path
    )
    assert set(library_path) <= set(directories)
    more = _ask(machine_nix, _request(machine_nix, roots, [], list(directories)), tmp_path)
    found = judge(StoreLibraries.union([answer, more]), *library_path)
    assert not [lack for lack in found if lack.file == "/app/module.so"]
    assert not not_found(*library_path)
