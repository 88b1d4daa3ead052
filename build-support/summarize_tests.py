"""Prints `N passed, N failed` from the JUnit reports of a test run. Standard library only.

Usage: `summarize_tests.py DIRECTORY EXIT_CODE`. Errors count as failures. A run that failed without
any failure in its reports (a test file that timed out leaves none) counts as one.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def count_tests(directory: Path) -> tuple[int, int]:
    """Returns how many tests passed and how many failed, after the reports below `directory`."""
    passed = failed = 0
    for report in directory.glob("**/*.xml"):
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            results = {child.tag for child in case}
            if results & {"failure", "error"}:
                failed += 1
            elif "skipped" not in results:
                passed += 1
    return passed, failed


def main() -> None:
    directory, exit_code = sys.argv[1:]
    passed, failed = count_tests(Path(directory))
    if exit_code != "0":
        failed = max(failed, 1)
    print(f"{passed} passed, {failed} failed")


if __name__ == "__main__":
    main()
