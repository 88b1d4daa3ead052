"""Whether a digest may use a second process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nixoci.processes.processors

SOURCE = str(Path(nixoci.processes.processors.__file__).parents[2])

PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from nixoci.processes.processors import has_idle_processor
processors = os.sched_getaffinity(0)
os.sched_setaffinity(0, [min(processors)])
print(has_idle_processor())
"""


def test_one_processor_is_not_idle() -> None:
    """With one processor, which the question itself keeps busy, the answer is always no."""
    command = [sys.executable, "-S", "-E", "-I", "-c", PROGRAM, SOURCE]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert result.stdout == "False\n"
