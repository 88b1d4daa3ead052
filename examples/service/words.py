"""What the service says."""

from __future__ import annotations


def describe(count: int, total: int) -> str:
    return f"The sum of 0 to {count} is {total}.\n"
