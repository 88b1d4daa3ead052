"""The tests run under plain pytest, with a newer Python than that of Pants 2.17 and without Pants."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pants.version import VERSION

from tests.conftest import needs_pants
from tests.integration.support.process import run

ROOT = Path(__file__).parents[2]

#: All tests take some ten minutes of processor time. The BUILD file has a target for each part, and names it: `3/12`.
_PART, _, _OF = os.environ.get("TESTS_WITHOUT_PANTS_PART", "/12").partition("/")
_PARTS = int(_OF)


def _part(number: int) -> tuple[str, ...]:
    """The files of a part; each file that needs no Pants is in one of them."""
    paths = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if not needs_pants(path)]
    files = [path.relative_to(ROOT).as_posix() for path in paths]
    # These share what takes long, the first runs of `./pants`, and are a part.
    launcher = tuple(file for file in files if file.startswith("tests/launcher/"))
    others = tuple(file for file in files if file not in launcher)
    return launcher if number == _PARTS else others[number - 1 :: _PARTS - 1]


@pytest.mark.parametrize("number", [int(_PART)] if _PART else range(1, _PARTS + 1))
def test_all_that_needs_no_pants(number: int) -> None:
    """All of it passes, none is skipped; with Pants out of reach, the rest is left out and that is said."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PANTS_", "PEX_", "PYTHON", "PYTEST_"))
    }
    files = _part(number)
    # This Python has Pants, or else this file would be one of those.
    assert VERSION and files
    program = ROOT / "build-support" / "pytest"
    result = run([program, "3.11", "-rs", *files], env=environment, timeout=850, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Python 3.11" in result.stdout
    assert re.search(r"Pants is not installed: \d+ files that need it are left out", result.stdout)
    (summary,) = re.findall(r"^=+ (.* in .*) =+$", result.stdout, re.MULTILINE)
    assert re.fullmatch(r"[0-9]{2,} passed in .*", summary), result.stdout
