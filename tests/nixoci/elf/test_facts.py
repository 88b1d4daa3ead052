"""Tests of `nixoci.elf.facts`."""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any, Optional

import nixoci
import pytest
from nixoci.elf.facts import ElfFacts, facts_from_json, facts_to_json, read_elf
from nixoci.errors import InvalidInputError, NixOciError

from tests.integration.support.tools import tool
from tests.nixoci.elf.elf_support import elf_bytes


def read(directory: Path, data: bytes) -> Optional[ElfFacts]:
    path = directory / "file"
    path.write_bytes(data)
    return read_elf(str(path))


@pytest.fixture(scope="module")
def library() -> Path:
    """A library of this machine that needs others."""
    import ssl

    module = sys.modules["_ssl"].__file__
    assert ssl and module is not None
    return Path(module)


def patched(source: Path, target: Path, *words: str) -> Optional[ElfFacts]:
    target.write_bytes(source.read_bytes())
    target.chmod(0o755)
    subprocess.run([tool("patchelf"), *words, target], check=True)
    return read_elf(str(target))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("little", [True, False])
def test_all_that_a_file_says(tmp_path: Path, bits: int, little: bool) -> None:
    data = elf_bytes(
        needed=("libb.so.1", "liba.so.1"),
        soname="libé.so",
        interpreter="/lib/ld.so",
        rpath="/a::/b",
        runpath="$ORIGIN/../lib",
        bits=bits,
        little=little,
    )
    assert read(tmp_path, data) == ElfFacts(
        "EM_X86_64",
        bits,
        "/lib/ld.so",
        "libé.so",
        ("libb.so.1", "liba.so.1"),
        ("/a", "/b"),
        ("$ORIGIN/../lib",),
    )


def test_a_machine_without_a_name(tmp_path: Path) -> None:
    facts = read(tmp_path, elf_bytes(machine=54321))
    assert facts is not None and facts.machine == "EM_54321"


def test_a_program_of_this_machine_as_patchelf_sees_it() -> None:
    program = os.path.realpath("/bin/ls")
    facts = read_elf(program)
    assert facts is not None and facts.is_program and facts.bits == struct.calcsize("P") * 8

    def ask(question: str) -> list[str]:
        return subprocess.check_output([tool("patchelf"), question, program], text=True).split()

    assert [facts.interpreter] == ask("--print-interpreter")
    assert list(facts.needed) == ask("--print-needed")


def test_libraries_that_patchelf_changed(tmp_path: Path, library: Path) -> None:
    target = tmp_path / "library.so"
    # One change at a time, as patchelf 0.14 mixes up the strings of several.
    patched(library, target, "--set-soname", "libx.so.7")
    facts = patched(target, target, "--add-needed", "libn.so")
    assert facts is not None
    assert facts.soname == "libx.so.7" and "libn.so" in facts.needed and not facts.is_program
    patched(library, target, "--remove-rpath")
    facts = patched(target, target, "--force-rpath", "--set-rpath", "$ORIGIN/../x:/y")
    assert facts is not None
    assert (facts.rpath, facts.runpath) == (("$ORIGIN/../x", "/y"), ())
    facts = patched(library, target, "--set-rpath", "/nix/store/" + "/x" * 3000)
    assert facts is not None and facts.runpath == ("/nix/store/" + "/x" * 3000,)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x7fEL", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF" + bytes(200)),
        b"\x7fELF" + b"\xff" * 4096,
        elf_bytes(kind=1),
        elf_bytes(kind=4),
        elf_bytes(kind=2, dynamic=False),
        elf_bytes(needed=("x",), more_tags=[(1, 1 << 40)]),
        elf_bytes(needed=("x",), more_tags=[(1, (1 << 64) - 1)]),
        elf_bytes(needed=("x",), kind=0xFE00),
    ],
)
def test_what_is_no_dynamic_elf_file(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data) is None


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    data = elf_bytes(needed=("QQQQ",))
    assert read(tmp_path, data) is not None
    assert read(tmp_path, data.replace(b"QQQQ", b"\xff\xfe\xfd\xfc")) is None


def test_separate_debug_information(tmp_path: Path) -> None:
    """Its segments have the types of the program's, and no bytes."""
    data = bytearray(elf_bytes(needed=("x",), interpreter="/lib/ld.so"))
    for number in (1, 2):
        struct.pack_into("<Q", data, 64 + number * 56 + 32, 0)
    assert read(tmp_path, bytes(data)) is None


def test_sections_do_not_matter(tmp_path: Path, library: Path) -> None:
    """As for loaders, which read segments alone."""
    data = bytearray(library.read_bytes())
    expected = read(tmp_path, bytes(data))
    assert expected is not None
    struct.pack_into("<Q", data, 40, 0)
    struct.pack_into("<HH", data, 60, 0, 0)
    assert read(tmp_path, bytes(data)) == expected


def test_truncated_files(tmp_path: Path, library: Path) -> None:
    """Each of them is a file of facts, or none; nothing is raised."""
    data = library.read_bytes()
    whole = read(tmp_path, data)
    for part in range(50):
        found = read(tmp_path, data[: len(data) * part // 50])
        assert found is None or found == whole


def test_flipped_bytes(tmp_path: Path, library: Path) -> None:
    """In the headers, in the dynamic part, and anywhere."""
    generator = random.Random(7)
    real = library.read_bytes()
    small = elf_bytes(needed=("liba", "libb"), interpreter="/lib/ld.so", runpath="/x")
    started = time.monotonic()
    for number in range(600):
        data = bytearray(small if number % 2 else real)
        end = len(small) if number % 2 else (1024 if number % 4 else len(real))
        for _ in range(1 + number % 3):
            data[generator.randrange(4, end)] = generator.randrange(256)
        found = read(tmp_path, bytes(data))
        assert found is None or facts_from_json(facts_to_json({"x": found})) == {"x": found}
    assert time.monotonic() - started < 60


def _many_segments() -> bytes:
    """All of 2³² program headers are the same bytes, as section 0 counts them."""
    data = bytearray(elf_bytes(needed=("x",)))
    struct.pack_into("<H", data, 56, 0xFFFF)
    struct.pack_into("<Q", data, 40, 0)
    # sh_info, of a section header that is at the start of the file.
    struct.pack_into("<I", data, 44, 0xFFFFFFFF)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        # Dynamic parts, strings and tables of headers that go on for long.
        elf_bytes(needed=("x",), more_tags=[(1, 1)] * 300_000),
        elf_bytes(needed=("x" * 20_000_000,)),
        elf_bytes(needed=("x" * 200_000,) * 60),
        elf_bytes(needed=("x",), more_tags=[(0x70000000, 1)] * 1_000_000, end=False),
        _many_segments(),
        elf_bytes(needed=("x",))[:54] + b"\0\0\xff\xff" + elf_bytes(needed=("x",))[58:],
    ],
    ids=["tags", "string", "strings", "no end", "segments", "no size"],
)
def test_a_file_that_asks_for_much_is_left_alone(tmp_path: Path, data: bytes) -> None:
    """Soon, and with little memory."""
    path = tmp_path / "file"
    path.write_bytes(data)
    read_elf("/bin/ls")
    tracemalloc.start()
    started = time.monotonic()
    assert read_elf(str(path)) is None
    taken = time.monotonic() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # tracemalloc makes all of it several times as slow.
    assert taken < 20 and peak < 64 << 20


def test_a_sparse_file_of_nothing_but_tags(tmp_path: Path) -> None:
    data = bytearray(elf_bytes(needed=("x",), more_tags=[(1, 1)] * 3, end=False))
    struct.pack_into("<Q", data, 64 + 56 + 32, 1 << 40)
    path = tmp_path / "file"
    path.write_bytes(data)
    os.truncate(path, 1 << 33)
    # The zeros that follow end the dynamic part.
    assert read_elf(str(path)) is not None


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nosuch"):
        with pytest.raises(NixOciError, match=f"Cannot read {re.escape(str(path))}"):
            read_elf(str(path))


def test_facts_survive_json() -> None:
    facts = {
        "a": ElfFacts("EM_X86_64", 64),
        "b": ElfFacts("EM_386", 32, "/l", "s", ("n",), ("/r",), ("/p", "/q")),
    }
    assert facts_from_json(facts_to_json(facts)) == facts
    assert facts_to_json({"a": facts["a"]}) == b'{"a":{"bits":64,"machine":"EM_X86_64"}}'


@pytest.mark.parametrize(
    "document", [b"[]", b'{"a": 1}', b'{"a": {}}', b'{"a": {"machine": "m", "bits": true}}']
)
def test_other_documents_are_refused(document: Any) -> None:
    with pytest.raises(InvalidInputError):
        facts_from_json(document)


def test_without_the_package_the_error_says_so(tmp_path: Path) -> None:
    """It is missed only where there is an ELF file."""
    (tmp_path / "text").write_text("text")
    program = "import sys; from nixoci.elf.facts import read_elf; read_elf(sys.argv[1])"
    sources = str(Path(nixoci.__file__).parent.parent)

    def run(path: str) -> subprocess.CompletedProcess[str]:
        code = f"import sys; sys.path.append({sources!r}); {program}"
        command = [sys.executable, "-I", "-S", "-c", code, path]
        return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)

    assert run(str(tmp_path / "text")).returncode == 0
    assert "pip install pyelftools" in run("/bin/ls").stderr
