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


def test_memory_is_given_back() -> None:
    root = str(Path(pants_backend_nix.__file__).parents[1])
    program = f"import sys; sys.path[:0] = {[root, *sys.path]!r}\n{_SCRIPT}"
    result = subprocess.run(
        [sys.executable, "-I", "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    assert int(result.stdout) > 50_000
