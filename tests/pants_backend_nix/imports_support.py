"""What the plugin imports of Pants, for a given version: read from its sources, nothing is run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, Sequence

import pants_backend_nix

SOURCES = Path(pants_backend_nix.__path__[0])

Version = tuple[int, int]
Name = tuple[str, str]


def imported_names(version: Version) -> set[Name]:
    """Returns module and name of all that the plugin takes from Pants under `version`."""
    found: set[Name] = set()
    for path in sorted(SOURCES.rglob("*.py")):
        body = ast.parse(path.read_text()).body
        found.update(_names(_branch(body, version)))
    return found


def _branch(body: Sequence[ast.stmt], version: Version) -> Iterator[ast.stmt]:
    """Yields statements, those of `if PANTS_SEMVER.release >= (…)` only where they apply."""
    for statement in body:
        if isinstance(statement, ast.If) and "PANTS_SEMVER" in ast.dump(statement.test):
            test = statement.test
            assert isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.GtE)
            minimum = ast.literal_eval(test.comparators[0])
            yield from _branch(statement.body if version >= minimum else statement.orelse, version)
        else:
            yield statement


def _names(statements: Iterator[ast.stmt]) -> Iterator[Name]:
    aliases: dict[str, str] = {}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pants":
                for alias in node.names:
                    yield node.module or "", alias.name
                    aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            # `from pants.engine import rules as _rules`, then `_rules.rule`.
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = aliases.get(node.value.id)
                if module == "pants.engine.rules":
                    yield module, node.attr
