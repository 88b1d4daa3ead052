"""Hypothesis measures no time: a busy machine is no failure, and speed is for benchmarks.

Secrets of one test are none of another one.
"""

from __future__ import annotations

import nixoci.secrets
from hypothesis import settings

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_runtest_teardown() -> None:
    nixoci.secrets._known.clear()
