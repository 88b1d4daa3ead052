"""Tests of `nixoci.elf.search`: ld.so(8), on images that are made up."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import pytest
from nixoci.elf.facts import ElfFacts
from nixoci.elf.image_paths import UNKNOWN
from nixoci.elf.search import (
    LIBRARY,
    LOADER,
    Missing,
    missing_libraries,
    store_directories,
    store_programs,
)
from nixoci.elf.store_facts import StoreLibraries, StoreProgram

from tests.nixoci.store.closure_support import store_path

PYTHON, GLIBC, GCC = store_path("python"), store_path("glibc"), store_path("gcc")
GNU = "/lib64/ld-linux-x86-64.so.2"
STORE_LOADER = f"{GLIBC}/lib/ld-linux-x86-64.so.2"
PROGRAM = f"{PYTHON}/bin/python3"

STORE = StoreLibraries(
    (
        StoreProgram(
            *(PROGRAM, STORE_LOADER, "EM_X86_64", 64),
            ("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libz.so.1"),
            (),
            (f"{GLIBC}/lib",),
        ),
    ),
    (
        (f"{GCC}/lib", ("libgcc_s.so.1", "libstdc++.so.6")),
        (f"{GLIBC}/lib", ("ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libm.so.6")),
    ),
)


def elf(*needed: str, **more: Any) -> ElfFacts:
    return ElfFacts(
        more.pop("machine", "EM_X86_64"), more.pop("bits", 64), needed=needed, **more
    )


def program(*needed: str, interpreter: str = STORE_LOADER, **more: Any) -> ElfFacts:
    return elf(*needed, interpreter=interpreter, **more)


def missing(
    files: Mapping[str, ElfFacts],
    paths: Mapping[str, Optional[str]] = {},
    **more: Any,
) -> list[tuple[str, str, str]]:
    """Returns what is missing in an image of Python, glibc and gcc, with `files` and `paths`."""
    options: dict[str, Any] = {"programs": [PROGRAM], "store_paths": [PYTHON, GLIBC, GCC], **more}
    store = options.pop("store", STORE)
    present: dict[str, Optional[str]] = {**dict.fromkeys(files), **paths}
    found = missing_libraries(files, present, store, **options)
    assert list(found) == sorted(found)
    return [(lack.file, lack.name, lack.kind) for lack in found]


NUMPY = "/app/numpy/core.so"


def test_a_wheel_that_expects_the_system() -> None:
    """libc is loaded, libdl is where the loader looks, and libstdc++ is nowhere."""
    files = {NUMPY: elf("libstdc++.so.6", "libdl.so.2", "libc.so.6", "libgcc_s.so.1")}
    assert missing(files) == [
        (NUMPY, "libgcc_s.so.1", LIBRARY),
        (NUMPY, "libstdc++.so.6", LIBRARY),
    ]
    assert missing(files, ignored=["libgcc*", "libstdc++.so.[67]"]) == []
    # Nobody knows what loads it.
    assert missing(files, programs=[]) == missing(files, programs=["/bin/nosuch"]) == []
    assert missing(files, store=StoreLibraries()) == []


def test_where_a_library_may_be() -> None:
    """In LD_LIBRARY_PATH, DT_RUNPATH, DT_RPATH, at a place of its own, behind links."""
    lib = f"{GCC}/lib"
    link = {"/usr/lib/libstdc++.so.6": f"{lib}/libstdc++.so.6"}
    plain = {NUMPY: elf("libstdc++.so.6")}
    assert missing(plain, library_path=[lib]) == []
    assert missing(plain, {"/opt/gcc": GCC}, library_path=["/opt/gcc/lib"]) == []
    assert missing({NUMPY: elf("libstdc++.so.6", runpath=(lib,))}) == []
    assert missing({NUMPY: elf("libstdc++.so.6", rpath=(f"{lib}/../lib",))}) == []
    assert missing({NUMPY: elf(f"{lib}/libstdc++.so.6")}) == []
    assert missing({NUMPY: elf("libstdc++.so.6", rpath=(lib,), runpath=("/x",))}) != []
    # The loader of a Nix store does not look into /usr/lib.
    assert missing(plain, link) != []
    assert missing(plain, link, library_path=["/usr/lib"]) == []
    assert missing(plain, link, library_path=["usr/lib"]) != []
    # The image does not have the store path.
    assert missing(plain, library_path=[lib], store_paths=[PYTHON, GLIBC]) != []
    # It has the directory, and not this library.
    assert missing({NUMPY: elf("libgfortran.so.5")}, library_path=[lib]) != []
    assert missing({NUMPY: elf(f"{lib}/libgfortran.so.5")}) != []


def test_tokens_of_search_paths() -> None:
    files = {NUMPY: elf("libx.so", "liby.so", runpath=("$ORIGIN/../$LIB",))}
    there: dict[str, Optional[str]] = {"/app/lib/libx.so": None, "/app/lib64/liby.so": None}
    assert missing(files, there) == []
    assert len(missing(files)) == 2


def test_contents_are_found_wherever_they_are() -> None:
    """By their file names and sonames, if they are of the same machine."""
    files = {
        NUMPY: elf("libopenblas-1.so", "libtorch.so.2"),
        "/app/numpy.libs/libopenblas-1.so": elf("libc.so.6"),
        "/app/torch/t.so": elf("libc.so.6", soname="libtorch.so.2"),
    }
    assert missing(files) == []
    files["/app/torch/t.so"] = elf(soname="libtorch.so.2", machine="EM_AARCH64")
    files["/app/numpy.libs/libopenblas-1.so"] = elf(bits=32)
    assert [name for _, name, _ in missing(files)] == ["libopenblas-1.so", "libtorch.so.2"]


def test_rpath_counts_for_what_a_library_loads() -> None:
    """The file is judged as whatever of the image loads it finds things."""
    files = {
        NUMPY: elf("libblas.so", rpath=(f"{GCC}/lib",)),
        "/app/libblas.so": elf("libstdc++.so.6", soname="libblas.so"),
    }
    assert missing(files) == []
    files[NUMPY] = elf("libblas.so", runpath=(f"{GCC}/lib",))
    assert missing(files) == [("/app/libblas.so", "libstdc++.so.6", LIBRARY)]
    # What a library has loaded itself is there for the one that it loads.
    files[NUMPY] = elf("libstdc++.so.6", "libblas.so", runpath=(f"{GCC}/lib",))
    assert missing(files) == []


def test_libraries_of_other_machines_are_not_judged() -> None:
    files = {
        "/app/a.so": elf("libx.so", machine="EM_AARCH64"),
        "/app/b.so": elf("libx.so", bits=32),
    }
    assert missing(files) == []


def test_one_program_that_finds_it_is_enough() -> None:
    other = StoreProgram(
        f"{GCC}/bin/x", STORE_LOADER, "EM_X86_64", 64, ("libx.so",), (f"{GCC}/lib",), ()
    )
    store = StoreLibraries((*STORE.programs, other), STORE.directories)
    files = {NUMPY: elf("libx.so", "libstdc++.so.6", "libz.so.1", "liby.so")}
    programs = [PROGRAM, f"{GCC}/bin/x"]
    assert missing(files, store=store, programs=programs) == [(NUMPY, "liby.so", LIBRARY)]


def test_loaders() -> None:
    """The path leads to something in the image, through links of files and of directories."""
    files = {"/app/tool": program("libc.so.6", "libz.so.1", interpreter=GNU)}
    both = [("/app/tool", GNU, LOADER), ("/app/tool", "libz.so.1", LIBRARY)]
    assert missing(files) == both
    assert missing(files, {"/lib64": f"{GLIBC}/lib"}) == both[1:]
    assert missing(files, {GNU: STORE_LOADER}) == both[1:]
    assert missing(files, {"/lib64": "usr/lib", "/usr/lib": f"{GLIBC}/lib"}) == both[1:]
    assert missing(files, {GNU: STORE_LOADER}, store_paths=[PYTHON]) == both
    assert missing(files, {GNU: f"{GLIBC}/lib/ld-2.31.so"}) == both
    assert missing(files, {GNU: GNU}) == both
    assert missing(files, {"/lib64": UNKNOWN}, programs=[]) == []
    # A distribution's, where distributions have it.
    there: dict[str, Optional[str]] = {
        GNU: None,
        "/usr/lib/x86_64-linux-gnu/libz.so.1": None,
        "/lib/libc.so.6": None,
    }
    assert missing(files, there) == []
    assert missing(files, ignored=["ld-linux*", "libz.*"]) == []
    assert missing(files, ignored=[GNU, "libz.*"]) == []


def test_what_programs_load_is_judged_in_them() -> None:
    """And what that loads: with what the program hands on and has loaded."""
    files = {
        "/app/bin/tool": program("liba.so", "libz.so.1", rpath=("$ORIGIN/../lib", f"{GCC}/lib")),
        "/app/lib/liba.so": elf("libb.so", "libz.so.1"),
        "/app/lib/libb.so": elf("libstdc++.so.6", "libq.so", "liba.so"),
    }
    assert missing(files, {"/app/lib/libz.so.1": None}, programs=[]) == [
        ("/app/lib/libb.so", "libq.so", LIBRARY)
    ]


def test_a_program_of_the_image_may_load_libraries() -> None:
    """A Python that is in a wheel, or in an archive."""
    python = program("libpython.so", "libc.so.6", runpath=("$ORIGIN/../lib",))
    files = {
        "/opt/python/bin/python3.12": python,
        "/opt/python/lib/libpython.so": elf("libm.so.6", soname="libpython.so"),
        NUMPY: elf("libpython.so", "libm.so.6", "libq.so"),
    }
    link: dict[str, Optional[str]] = {"/opt/python/bin/python3": "python3.12"}
    assert missing(files, link, programs=[]) == []
    assert missing(files, link, programs=["/opt/python/bin/python3"]) == [
        (NUMPY, "libq.so", LIBRARY)
    ]


def test_a_library_that_names_a_loader_is_no_program() -> None:
    files = {"/app/libcap.so.2": elf("libc.so.6", soname="libcap.so.2", interpreter=GNU)}
    assert missing(files) == []


def test_musl() -> None:
    """Its libc is its loader, by several names; it has other default directories; DT_RUNPATH counts for
    what a library loads."""
    loader = "/lib/ld-musl-x86_64.so.1"
    needs = program("libc.musl-x86_64.so.1", "libz.so.1", interpreter=loader)
    files = {"/app/tool": needs, "/app/other": program("libc.so", interpreter=loader)}
    there: dict[str, Optional[str]] = {loader: None, "/usr/local/lib/libz.so.1": None}
    assert missing(files, there) == []
    assert missing(files, {loader: None, "/lib64/libz.so.1": None}) == [
        ("/app/tool", "libz.so.1", LIBRARY)
    ]
    assert [lack for lack in missing(files) if lack[2] == LIBRARY] == [
        ("/app/tool", "libz.so.1", LIBRARY)
    ]
    in_store = store_path("musl")
    store = StoreLibraries((), ((f"{in_store}/lib", ("ld-musl-x86_64.so.1", "libc.so")),))
    linked = {loader: f"{in_store}/lib/libc.so", "/app/lib/libz.so.1": None}
    files["/app/tool"] = program("liba.so", interpreter=loader, runpath=("/app/lib",))
    files["/app/liba.so"] = elf("libz.so.1", "libc.so")
    assert missing(files, linked, store=store, store_paths=[in_store]) == []


def test_files_that_need_each_other() -> None:
    files = {
        "/app/a.so": elf("b.so", "libq.so"),
        "/app/b.so": elf("a.so"),
        "/else/b.so": elf("a.so", "b.so"),
    }
    assert missing(files) == [("/app/a.so", "libq.so", LIBRARY)]


def test_of_several_with_a_name_the_one_that_is_found_counts() -> None:
    files = {
        "/a/libx.so": elf("libq.so"),
        "/app/lib/libx.so": elf("libc.so.6"),
        "/app/tool": program("libx.so", runpath=("$ORIGIN/lib",)),
    }
    assert missing(files, programs=[]) == []
    files["/app/tool"] = program("libx.so", runpath=("/a",))
    assert missing(files, programs=[]) == [("/a/libx.so", "libq.so", LIBRARY)]


def test_what_is_copied_to_the_root_counts() -> None:
    """With links whose targets are not known."""
    files = {NUMPY: elf("libq.so", "libr.so")}
    there: dict[str, Optional[str]] = {"/usr/lib/libq.so": UNKNOWN}
    assert missing(files, there, library_path=["/usr/lib"]) == [(NUMPY, "libr.so", LIBRARY)]
    assert missing(files, {"/usr/lib": UNKNOWN}, library_path=["/usr/lib"]) == []


@pytest.mark.parametrize("name", ["", "..", "/", "$ORIGIN", "[", "a/b"])
def test_strange_names(name: str) -> None:
    """From hostile files: an answer, whatever it is."""
    files = {NUMPY: elf(name, runpath=(name,)), "/app/x": program(name, interpreter=name or "/")}
    missing(files, {"/x": name or "/"}, library_path=[name], ignored=[name])


def test_what_to_ask_the_store() -> None:
    """Directories that would be looked into, and programs, through links."""
    files = {
        NUMPY: elf("x", runpath=(f"{GCC}/lib/../lib", "$ORIGIN"), rpath=("/opt/gcc/x",)),
        "/app/blas.so": elf(f"{PYTHON}/own/x.so", rpath=("/opt/gcc/lib64",)),
        "/app/tool": program(interpreter=GNU),
    }
    paths: dict[str, Optional[str]] = {
        **dict.fromkeys(files),
        "/opt/gcc": GCC,
        "/lib": f"{PYTHON}/lib",
        GNU: STORE_LOADER,
        "/usr/bin/python": PROGRAM,
        "/bin": "usr/bin",
    }
    known = [GCC, GLIBC, PYTHON]
    gone = store_path("gone")
    found = store_directories(
        files, paths, store_paths=known, library_path=[f"{PYTHON}/more", f"{gone}/lib"]
    )
    assert found == tuple(
        sorted(
            [
                *(f"{GCC}/lib", f"{GCC}/lib64", f"{GLIBC}/lib"),
                *(f"{PYTHON}/lib", f"{PYTHON}/lib/x86_64-linux-gnu", f"{PYTHON}/more"),
                f"{PYTHON}/own",
            ]
        )
    )
    programs = ["/bin/python", PROGRAM, "/app/tool", "python", f"{gone}/bin/x", "/nosuch"]
    assert store_programs(programs, paths, store_paths=known) == (PROGRAM,)
    library = elf("libdl.so.2")
    assert missing({NUMPY: library}, {"/usr/bin/python": PROGRAM}, programs=["/usr/bin/python"]) == []


def test_missing_is_sorted_by_file() -> None:
    assert Missing("/a", "z", LIBRARY) < Missing("/b", "a", LIBRARY) < Missing("/b", "b", LOADER)
