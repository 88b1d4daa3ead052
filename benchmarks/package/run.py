"""Measures `./pants package` of images end to end: through the launcher, with pantsd warm.

    python3 benchmarks/package/run.py [--json FILE] [--runs N]

Whole processes are timed, in a scratch monorepo. The commands take turns, so that what else the
machine does hits all alike; medians of wall seconds are printed, and ratios to `./pants list`, the
least that Pants can do. How many processes Pants ran is counted by Pants, in further runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any, Callable

from scratch import Scratch, scratch_monorepo

#: The closure: so many small store paths, in so many layers, and one package on top in its own.
_PATHS = 60
_LAYERS = 10

_IMAGE = "bench/image:image"

#: What is asked (issue 2) of packaging one image with nothing to do: seconds, seconds beyond `list`.
_AT_MOST = 0.5
_BEYOND_LIST = 0.2


class Cases:
    """The commands that are compared. Each prepares the monorepo, then `run`s one Pants command.

    :param run: gets the arguments of Pants; a time or a count is what comes back.
    """

    def __init__(self, scratch: Scratch, run: Callable[..., float]) -> None:
        self.scratch = scratch
        self.run = run

    def list(self) -> float:
        # The files may have changed since: what is measured is the second run.
        self.run("list", "bench::")
        return self.run("list", "bench::")

    def nothing_changed(self) -> float:
        self.run("package", _IMAGE)
        return self.run("package", _IMAGE)

    def config_changed(self) -> float:
        word = _fresh_word()
        self.scratch.write_image("bench/image", "image", word)
        return self._package(_IMAGE, word)

    def package_changed(self) -> float:
        word = _fresh_word()
        self.scratch.write_app(word)
        return self._package(_IMAGE, f"-bench-app-{word}")

    def second_image(self) -> float:
        word = _fresh_word()
        self.scratch.write_image("bench/second", f"image-{word}", "second")
        return self._package(f"bench/second:image-{word}", "second")

    def _package(self, address: str, expected: str) -> float:
        # The daemon learns of changed files from the kernel; this is not what is measured.
        time.sleep(0.1)
        measured = self.run("package", address)
        entrypoint = self.scratch.entrypoint(address.split(":")[1])
        if not any(argument.endswith(expected) for argument in entrypoint):
            raise RuntimeError(f"{address} was packaged as it was before: {entrypoint}")
        return measured


#: Title in the table and method of `Cases`, in the order of a round.
_CASES = (
    ("./pants list bench::", Cases.list),
    ("package: nothing changed", Cases.nothing_changed),
    ("package: config changed", Cases.config_changed),
    ("package: one package changed", Cases.package_changed),
    ("package: second image, same layers", Cases.second_image),
)


def main() -> int:
    arguments = _parse_arguments()
    with scratch_monorepo() as scratch:
        report = _measure(scratch, arguments.runs)
    print(_table(report))
    if arguments.json:
        temporary = f"{arguments.json}.partial"
        with open(temporary, "w") as file:
            json.dump(report, file, indent=2, sort_keys=True)
            file.write("\n")
        os.replace(temporary, arguments.json)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="runs of each command (7)")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs: expected at least 1")
    return arguments


def _measure(scratch: Scratch, runs: int) -> dict[str, Any]:
    scratch.write_runtime(paths=_PATHS, layers=_LAYERS)
    scratch.write_app(_fresh_word())
    scratch.write_image("bench/image", "image", "first")
    # Starts pantsd, which takes longest, and is no part of the first package below.
    scratch.pants("list", "bench::")
    first, _ = scratch.pants("package", _IMAGE)

    seconds: dict[str, list[float]] = {title: [] for title, _ in _CASES}
    timed = Cases(scratch, lambda *arguments: scratch.pants(*arguments)[0])
    for _ in range(runs):
        for title, case in _CASES:
            seconds[title].append(case(timed))
    # An option more makes Pants do all again that it has in memory, so counting has its own runs.
    counted = Cases(scratch, scratch.processes)
    counted.nothing_changed()
    processes = {title: int(case(counted)) for title, case in _CASES}

    medians = {title: statistics.median(times) for title, times in seconds.items()}
    yardstick = medians[_CASES[0][0]]
    return {
        "cpus": _cpus(),
        "python": sys.version.split()[0],
        "runs": runs,
        "store_paths": _PATHS + 1,
        "layers": _LAYERS + 1,
        "first_package_seconds": first,
        "seconds": seconds,
        "medians": medians,
        "ratios": {title: median / yardstick for title, median in medians.items()},
        "processes": processes,
        "targets": {"nothing_changed": _AT_MOST, "nothing_changed_beyond_list": _BEYOND_LIST},
    }


def _fresh_word() -> str:
    """Returns a word that no earlier run used, so that neither Pants nor Nix knows its result."""
    return f"{time.time_ns():x}"


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _table(report: dict[str, Any]) -> str:
    medians, seconds = report["medians"], report["seconds"]
    lines = [
        f"{report['cpus']} processors, medians of {report['runs']} runs; an image of "
        f"{report['store_paths']} store paths in {report['layers']} layers",
        "",
        f"{'':36}{'seconds':>9}{'fastest':>9}{'of list':>9}{'processes':>11}",
    ]
    for title, median in medians.items():
        lines.append(
            f"{title:36}{median:>9.3f}{min(seconds[title]):>9.3f}"
            f"{report['ratios'][title]:>9.2f}{report['processes'][title]:>11}"
        )
    nothing, yardstick = medians[_CASES[1][0]], medians[_CASES[0][0]]
    lines += [
        f"{'first package, empty caches, one run':36}{report['first_package_seconds']:>9.3f}",
        "",
        f"Nothing changed: {nothing:.3f} s (target {_AT_MOST}), {nothing - yardstick:.3f} s beyond "
        f"list (target {_BEYOND_LIST})",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
