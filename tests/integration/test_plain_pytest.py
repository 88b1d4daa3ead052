"""The tests run under plain pytest, with a newer Python than that of Pants 2.17 and without Pants."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.integration.support.process import run

#: Some of the core, in half a minute of processor time; all of `tests/nixoci` would take four.
_TESTS = ("recipe", "elf", "report", "test_json_input.py", "test_version.py")


def test_the_core_without_pants() -> None:
    """All of these pass, none is skipped; with Pants out of reach, the rest is left out and that is said."""
    program = Path(__file__).parents[2] / "build-support" / "pytest"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PANTS_", "PEX_", "PYTHON", "PYTEST_"))
    }
    tests = [f"tests/nixoci/{name}" for name in _TESTS]
    result = run([program, "3.11", "-rs", *tests], env=environment, timeout=540)
    assert "Python 3.11" in result.stdout
    assert re.search(r"Pants is not installed: \d+ files that need it are left out", result.stdout)
    (summary,) = re.findall(r"^=+ (.* in .*) =+$", result.stdout, re.MULTILINE)
    assert re.fullmatch(r"[0-9]{3,} passed in .*", summary), result.stdout
