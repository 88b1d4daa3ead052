"""Tests are the same whether they run in the foreground of a shell or not, alone or with all others.

Where Pants is not installed, those that need it are left out.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import signal
from pathlib import Path

import nixoci.secrets

# A shell without job control starts what runs in the background with SIGINT ignored, and each program
# hands that on to those that it starts. Tests send SIGINT to some of them, which have to end then.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_ROOT = Path(__file__).parents[1]


def _file_of(module: str) -> Path | None:
    """The file of a module of this repository."""
    place = Path(*module.split("."))
    for root in (_ROOT, _ROOT / "src" / "python"):
        for file in (root / place.with_suffix(".py"), root / place / "__init__.py"):
            if file.is_file():
                return file
    return None


@functools.lru_cache(maxsize=None)
def _imported(file: Path) -> frozenset[str]:
    """The modules that a file imports, inside of functions as well."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def needs_pants(file: Path) -> bool:
    """Says whether a file imports Pants, itself or through other files of this repository."""
    seen, waiting = {file}, [file]
    while waiting:
        for module in _imported(waiting.pop()):
            if module.partition(".")[0] == "pants":
                return True
            found = _file_of(module)
            if found and found not in seen:
                seen.add(found)
                waiting.append(found)
    return False


def _tests_that_need_pants() -> list[str]:
    if importlib.util.find_spec("pants"):
        return []
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    return [str(file) for file in files if needs_pants(file)]


#: For pytest.
collect_ignore = _tests_that_need_pants()


def pytest_report_header() -> list[str]:
    """Says what is left out."""
    if not collect_ignore:
        return []
    rooms = sorted({Path(file).parent.relative_to(_ROOT).as_posix() for file in collect_ignore})
    return [
        f"Pants is not installed: {len(collect_ignore)} files that need it are left out, of {', '.join(rooms)}"
    ]


def pytest_runtest_teardown() -> None:
    """Secrets of one test are none of another one, whose messages may have such words."""
    nixoci.secrets._known.clear()
