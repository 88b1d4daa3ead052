"""Tests of `nixoci.elf.places`."""

from __future__ import annotations

import pytest
from nixoci.elf.facts import ElfFacts
from nixoci.elf.places import (
    comes_with_loader,
    default_directories,
    expand,
    handed_on,
    is_musl,
    searched,
)

X86_64 = ElfFacts("EM_X86_64", 64)
GNU = "/lib64/ld-linux-x86-64.so.2"
MUSL = "/lib/ld-musl-x86_64.so.1"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("/a", ("/a",)),
        ("$ORIGIN/../lib", ("/app/bin/../lib",)),
        ("${ORIGIN}:$ORIGIN", ("/app/bin:/app/bin",)),
        ("$ORIGINAL", ("$ORIGINAL",)),
        ("/x/$LIB", ("/x/lib64", "/x/lib", "/x/lib/x86_64-linux-gnu")),
        ("/x/${PLATFORM}", ("/x/x86_64", "/x/haswell")),
    ],
)
def test_tokens(text: str, expected: tuple[str, ...]) -> None:
    assert expand(text, "/app/bin/program", X86_64) == expected


def test_tokens_in_strange_places() -> None:
    """Files at the top, places that look like tokens, many tokens, machines that nobody knows."""
    assert expand("$ORIGIN/lib", "/program", X86_64) == ("//lib",)
    assert expand("$ORIGIN", "/$ORIGIN/file", X86_64) == ("/$ORIGIN",)
    assert len(expand("$LIB$PLATFORM" * 5000, "/f", X86_64)) == 6
    assert expand("/$LIB/$PLATFORM", "/f", ElfFacts("EM_54321", 32)) == ("/lib/",)


def test_default_directories() -> None:
    assert default_directories("/nix/store/x-glibc/lib/ld.so", "EM_X86_64") == (
        "/nix/store/x-glibc/lib",
    )
    assert default_directories(MUSL, "EM_X86_64") == ("/lib", "/usr/local/lib", "/usr/lib")
    found = default_directories(GNU, "EM_AARCH64")
    assert found[:2] == ("/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
    assert set(found[2:]) == {"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
    assert default_directories(None, "EM_54321") == found[2:]


def test_what_rpath_and_runpath_count_for() -> None:
    rpath = ElfFacts("EM_X86_64", 64, rpath=("$ORIGIN/r", "relative"))
    both = ElfFacts("EM_X86_64", 64, rpath=("/r",), runpath=("/u",))
    assert handed_on("/app/x", rpath, ("/before",), GNU) == ("/app/r", "/before")
    assert searched("/app/x", rpath, ("/app/r", "/before"), ("/l",), GNU) == (
        *("/app/r", "/before"),
        "/l",
    )
    # What loads it hands on to what it loads, though not to itself.
    assert handed_on("/app/x", both, ("/before",), GNU) == ("/before",)
    assert searched("/app/x", both, ("/before",), ("/l", "$ORIGIN/y"), GNU) == (
        *("/l", "/app/y"),
        "/u",
    )
    assert handed_on("/app/x", both, ("/before",), MUSL) == ("/u", "/before")
    assert "/before" in searched("/app/x", both, ("/u", "/before"), (), MUSL)


def test_what_comes_with_a_loader() -> None:
    assert is_musl(MUSL) and not is_musl(GNU) and not is_musl(None)
    for name in ("libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"):
        assert comes_with_loader(name, GNU) and not comes_with_loader(name, MUSL)
    for name in ("libc.so", "libc.musl-x86_64.so.1"):
        assert comes_with_loader(name, MUSL)
    for name in ("libstdc++.so.6", "libcrypt.so.1", "libz.so.1"):
        assert not comes_with_loader(name, GNU) and not comes_with_loader(name, MUSL)
