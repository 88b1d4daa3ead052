"""Tests of the error for a plugin without the package that reads ELF files."""

from __future__ import annotations

from nixoci.elf.facts import ElfReaderError
from pants.engine.addresses import Address

from pants_backend_nix.errors import explain_step_error


def test_no_reader_of_elf_files() -> None:
    """The error says what is missing, where, and how a plugin gets it."""
    facts = {"error": "ElfReaderError", "message": str(ElfReaderError())}
    text = str(explain_step_error(facts, "", "Reading ELF files of app", [Address("app")]))
    assert text.startswith("Reading ELF files of app failed: ELF files are read with pyelftools")
    assert "`[GLOBAL].plugins`" in text and "pip install pyelftools" in text
