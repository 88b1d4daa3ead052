"""Inputs without an end: each command says so, and takes no more memory than a document may have."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import nixoci
import pytest

#: Bytes of memory; Python, and more than twice of what a document may have.
_MEMORY = 3 << 30


def run(*words: str, stdin: str = "/dev/null") -> subprocess.CompletedProcess[str]:
    with open(stdin, "rb") as file:
        return subprocess.run(
            [sys.executable, "-m", "nixoci", *words],
            cwd=Path(nixoci.__path__[0]).parent,
            stdin=file,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY)),
            check=False,
        )


@pytest.mark.parametrize(
    "words",
    (
        ("write", "--format", "oci-archive", "--output", "image.tar", "/dev/zero"),
        ("push", "/dev/zero"),
        ("serve", "/dev/zero"),
        ("digest", "/dev/zero"),
        ("split", "/dev/zero"),
        ("certificates", "--bundle", "bundle", "/dev/zero"),
        ("--tools", "/dev/zero", "closure", "/nix/store/" + "0" * 32 + "-x"),
    ),
    ids=lambda words: words[0],
)
def test_files_without_an_end(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert (1, "") == (result.returncode, result.stdout)
    what = "file of tools" if "--tools" in words else "file"
    assert f"nixoci: {what} '/dev/zero' is not valid: it has over 256 MiB.\n" == result.stderr


@pytest.mark.parametrize("words", (("split",), ("digest", "-"), ("database", "--output", "x", "-")))
def test_standard_input_without_an_end(words: tuple[str, ...]) -> None:
    result = run(*words, stdin="/dev/zero")
    assert (1, "") == (result.returncode, result.stdout)
    assert "standard input' is not valid: it has over 256 MiB.\n" in result.stderr
