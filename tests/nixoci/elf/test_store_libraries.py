"""Tests of `nixoci.elf.store_libraries`, on files of a chroot store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

import pytest
from nixoci.elf.store_facts import StoreLibraries, StoreLibrariesRequest, StoreProgram
from nixoci.elf.store_libraries import store_libraries
from nixoci.store.nix import Nix
from nixoci.store.path import StorePath

from tests.nixoci.elf.elf_support import elf_bytes
from tests.nixoci.store.closure_support import store_path

APP, LIBS, GLIBC, OTHER = (store_path(name) for name in ("app", "libs", "glibc", "other"))
LOADER = f"{GLIBC}/lib/ld-linux-x86-64.so.2"


@pytest.fixture()
def store(tmp_path: Path) -> Path:
    """A store of a program with its libraries."""
    root = tmp_path / "root"
    write(root, f"{GLIBC}/lib/libc.so.6", elf_bytes(soname="libc.so.6", needed=("ld-x.so",)))
    write(root, f"{GLIBC}/lib/ld-2.36.so", elf_bytes(soname="ld-x.so"))
    link(root, LOADER, "ld-2.36.so")
    write(root, f"{LIBS}/lib/libz.so.1.3", elf_bytes(soname="libz.so.1", needed=("libc.so.6",)))
    link(root, f"{LIBS}/lib/libz.so", "libz.so.1.3")
    write(root, f"{LIBS}/lib/libm.so", elf_bytes(soname="libm.so", needed=("libhid.so",)))
    write(root, f"{LIBS}/hidden/libhid.so", elf_bytes(soname="libhid.so", runpath="/x"))
    return root


def write(root: Path, path: str, data: bytes) -> None:
    file = Path(f"{root}{path}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def link(root: Path, path: str, target: str) -> None:
    file = Path(f"{root}{path}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(target)


def ask(
    root: Path,
    programs: Sequence[str] = (),
    directories: Sequence[str] = (),
    paths: Sequence[str] = (APP, LIBS, GLIBC),
) -> StoreLibraries:
    nix = Nix("/nosuch", {}, known_store=f"local?root={root}")
    hashes = tuple((StorePath.parse(path), "sha256-") for path in paths)
    request = StoreLibrariesRequest(hashes, tuple(programs), tuple(directories))
    return store_libraries(request, nix.location, nix.store_root)


def ask_for(root: Path, path: str, **more: Sequence[str]) -> StoreProgram:
    (known,) = ask(root, [path], **more).programs
    return known


def test_what_a_program_loads(store: Path) -> None:
    """Through links, search paths, tokens and the loader's directory, each library for itself."""
    data = elf_bytes(needed=("libz.so", "libc.so.6"), interpreter=LOADER, runpath=f"{LIBS}/lib")
    write(store, f"{APP}/libexec/real", data)
    link(store, f"{APP}/bin/app", "../libexec/real")
    answer = ask(store, [f"{APP}/bin/app"], [f"{LIBS}/lib", f"{APP}/nosuch", f"{APP}/bin/app"])
    assert answer.programs == (
        StoreProgram(
            f"{APP}/bin/app",
            LOADER,
            "EM_X86_64",
            64,
            tuple(
                sorted(
                    [
                        *("ld-2.36.so", "ld-linux-x86-64.so.2", "ld-x.so"),
                        *("libc.so.6", "libz.so", "libz.so.1"),
                    ]
                )
            ),
            (),
            (f"{GLIBC}/lib",),
        ),
    )
    assert dict(answer.directories) == {
        f"{APP}/bin/app": (),
        f"{APP}/nosuch": (),
        f"{GLIBC}/lib": ("ld-2.36.so", "ld-linux-x86-64.so.2", "libc.so.6"),
        f"{LIBS}/lib": ("libm.so", "libz.so", "libz.so.1.3"),
    }


@pytest.mark.parametrize("search, found", [("rpath", True), ("runpath", False)])
def test_rpath_counts_for_what_libraries_need(store: Path, search: str, found: bool) -> None:
    """DT_RUNPATH of a program finds a library, and not what that needs."""
    places = f"{LIBS}/lib:$ORIGIN/../../{os.path.basename(LIBS)}/hidden"
    data = elf_bytes(
        needed=("libm.so",),
        interpreter=LOADER,
        rpath=places if search == "rpath" else None,
        runpath=places if search == "runpath" else None,
    )
    write(store, f"{APP}/bin/app", data)
    known = ask_for(store, f"{APP}/bin/app")
    assert "libm.so" in known.loaded and ("libhid.so" in known.loaded) is found
    assert known.rpath == ((f"{LIBS}/lib", f"{LIBS}/hidden") if found else ())


def test_a_library_of_another_machine_is_not_loaded(store: Path) -> None:
    write(store, f"{APP}/32/libz.so", elf_bytes(soname="libwrong.so", bits=32))
    write(store, f"{APP}/text/libz.so", b"INPUT(libz.so.1)")
    places = f"{APP}/32:{APP}/text:{LIBS}/lib"
    data = elf_bytes(needed=("libz.so",), interpreter=LOADER, runpath=places)
    write(store, f"{APP}/bin/app", data)
    loaded = ask_for(store, f"{APP}/bin/app").loaded
    assert "libz.so.1" in loaded and "libwrong.so" not in loaded


def test_a_needed_path(store: Path) -> None:
    data = elf_bytes(needed=("$ORIGIN/x.so", f"{LIBS}/lib/libz.so"), interpreter=LOADER)
    write(store, f"{APP}/bin/app", data)
    write(store, f"{APP}/bin/x.so", elf_bytes(soname="libx.so.1"))
    assert {"libx.so.1", "libz.so.1"} < set(ask_for(store, f"{APP}/bin/app").loaded)


def test_libraries_that_need_each_other(store: Path) -> None:
    write(store, f"{APP}/lib/a.so", elf_bytes(soname="a.so", needed=("b.so",), runpath="$ORIGIN"))
    write(store, f"{APP}/lib/b.so", elf_bytes(soname="b.so", needed=("a.so",)))
    data = elf_bytes(needed=("a.so",), interpreter=LOADER, runpath=f"{APP}/lib")
    write(store, f"{APP}/bin/app", data)
    assert {"a.so", "b.so"} < set(ask_for(store, f"{APP}/bin/app").loaded)


def test_scripts_stand_for_their_interpreters(store: Path) -> None:
    """Four of them in a row, as the kernel has it."""
    write(store, f"{APP}/bin/0", elf_bytes(interpreter=LOADER))
    for number in range(1, 6):
        line = f"#! {APP}/bin/{number - 1} -I\nmore\n"
        write(store, f"{APP}/bin/{number}", line.encode())
    assert ask_for(store, f"{APP}/bin/4").loader == LOADER
    assert ask_for(store, f"{APP}/bin/5").loader is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"text", b"#!", b"#! \n", b"#!/bin/sh\n", b"#!relative\n", b"#!\xff\n"),
        f"#!{OTHER}/bin/sh\n".encode(),
        elf_bytes(kind=2, dynamic=False),
        elf_bytes(needed=("libc.so.6",)),
        elf_bytes(needed=("libc.so.6",), interpreter=LOADER)[:150],
    ],
)
def test_of_other_programs_nothing_is_known(store: Path, data: bytes) -> None:
    write(store, f"{APP}/bin/app", data)
    write(store, f"{OTHER}/bin/sh", elf_bytes(interpreter=LOADER))
    assert ask(store, [f"{APP}/bin/app"]) == StoreLibraries((StoreProgram(f"{APP}/bin/app"),))


def test_only_what_the_request_lists_is_read(store: Path) -> None:
    """What else is in the store is no part of the key, so it has no part in the answer."""
    data = elf_bytes(needed=("libz.so",), interpreter=LOADER, runpath=f"{LIBS}/lib")
    write(store, f"{APP}/bin/app", data)
    link(store, f"{APP}/lib", f"{LIBS}/lib")
    link(store, f"{APP}/etc", "/etc")
    link(store, f"{APP}/loop", "loop")
    places = [f"{APP}/lib", f"{APP}/etc", f"{APP}/loop"]
    every = ask(store, [f"{APP}/bin/app"], places)
    assert "libz.so.1" in every.programs[0].loaded
    assert "libm.so" in dict(every.directories)[f"{APP}/lib"]
    assert dict(every.directories)[f"{APP}/etc"] == dict(every.directories)[f"{APP}/loop"] == ()
    fewer = ask(store, [f"{APP}/bin/app"], places, paths=[APP, GLIBC])
    assert "libz.so.1" not in fewer.programs[0].loaded
    assert dict(fewer.directories)[f"{APP}/lib"] == ()


def test_a_loader_outside_of_the_store(store: Path) -> None:
    """Where it looks is known, and not what is there."""
    interpreter = "/lib64/ld-linux-x86-64.so.2"
    write(store, f"{APP}/bin/app", elf_bytes(needed=("libc.so.6",), interpreter=interpreter))
    answer = ask(store, [f"{APP}/bin/app"])
    assert answer.programs[0].loader == interpreter
    assert answer.programs[0].loaded == ("ld-linux-x86-64.so.2",)
    assert ("/usr/lib", ()) in answer.directories


def test_names_that_nobody_can_need(store: Path) -> None:
    write(store, f"{APP}/lib/good.so", b"")
    with open(os.fsencode(f"{store}{APP}/lib/") + b"\xff.so", "wb"):
        pass
    answer = ask(store, directories=[f"{APP}/lib"])
    assert answer.directories == ((f"{APP}/lib", ("good.so",)),)
    assert StoreLibraries.from_json(answer.to_json()) == answer
