"""What a process has freed goes back to the system, although what was made last is still there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pants_backend_nix

#: Makes a hundred megabytes of things that are too large for Python's own allocator, and frees all but the last one.
_SCRIPT = """
from pants_backend_nix.rules.core.memory import release_memory

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

things = [bytes(1000) + b"x" for _ in range(100_000)]
last = things[-1]
del things
before = resident()
release_memory()
print(before - resident())
"""


def _run(script: str) -> str:
    """What a new process prints."""
    root = str(Path(pants_backend_nix.__file__).parents[1])
    program = f"import sys; sys.path[:0] = {[root, *sys.path]!r}\n{script}"
    return subprocess.run(
        [sys.executable, "-I", "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def test_memory_is_given_back() -> None:
    assert int(_run(_SCRIPT)) > 50_000


def test_what_there_is_is_no_garbage() -> None:
    """What was set up is not looked through any more; what comes later is."""
    script = """
import gc, weakref
from pants_backend_nix.rules.core.memory import release_memory

class Thing:
    def __init__(self):
        self.me = self

release_memory()
many = gc.get_freeze_count()
thing = weakref.ref(Thing())
gc.collect()
print(many > 1000, thing())
"""
    assert _run(script) == "True None\n"
