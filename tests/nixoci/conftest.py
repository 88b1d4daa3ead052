"""Hypothesis measures no time: a busy machine is no failure, and speed is for benchmarks."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
