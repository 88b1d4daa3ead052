"""What the plugin imports exists in every version of Pants that it is written for, and is imported when it is used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pants.version import PANTS_SEMVER

from tests.pants_backend_nix.imports_support import SOURCES, Version, imported_names

NAMES = json.loads((Path(__file__).parent / "pants_names.json").read_text())
VERSIONS = [tuple(map(int, version.split("."))) for version in NAMES]


@pytest.mark.parametrize("version", VERSIONS, ids=[".".join(map(str, v)) for v in VERSIONS])
def test_imported_names_exist(version: Version) -> None:
    """`pants_names.json` was made from the sources of Pants by build-support/list-pants-names."""
    known = NAMES[".".join(map(str, version))]
    missing = {(m, name) for m, name in imported_names(version) if name not in known.get(m, ())}
    assert missing == set()


def test_the_list_is_true_of_the_version_that_runs() -> None:
    """For one that is newer than the list it is that of what the plugin imports there."""
    running: Version = PANTS_SEMVER.release[:2]
    known = NAMES.get(".".join(map(str, running)))
    if known is None:
        assert running > VERSIONS[-1], f"remake the list with Pants {PANTS_SEMVER}"
        names = imported_names(running)
    else:
        names = {(module, name) for module in known for name in known[module]}
    for module, name in names:
        loaded = importlib.import_module(module)
        assert hasattr(loaded, name) or importlib.import_module(f"{module}.{name}")


def test_only_engine_knows_versions() -> None:
    """No other module asks which version runs, or requests in the old style."""
    for path in SOURCES.rglob("*.py"):
        if path.name != "engine.py":
            text = path.read_text()
            assert "PANTS_SEMVER" not in text and " Get(" not in text and "MultiGet" not in text


def test_the_parser_is_imported_by_what_parses() -> None:
    """Goals that infer nothing do not pay for it."""
    program = (
        "import sys; import pants_backend_nix.register;"
        "assert not [name for name in sys.modules if name.startswith('tree_sitter')]"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join([str(SOURCES.parent), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
