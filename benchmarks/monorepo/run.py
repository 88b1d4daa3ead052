"""Measures `./pants package` of a whole monorepo of images, and how that grows with their number.

    python3 benchmarks/monorepo/run.py [--images N …] [--runs N] [--json FILE]

For each number of images a scratch monorepo is generated and built from nothing. Then the commands
are timed as whole processes; medians of wall seconds are printed with the processes that Pants ran,
by its own counter. "Cold" is without pantsd: each run starts Pants and looks up every step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "package"))

from cache_server import remote_cache
from generated import GeneratedImages
from scratch import scratch_monorepo

_ALL = "bench::"
_COLD = "--no-pantsd"

#: Titles of the rows, in the order of the table.
_FIRST = "first build from nothing"
_LIST = "list, pantsd warm"
_NOTHING = "nothing changed, pantsd warm"
_LEAF = "one image's package changed"
_TOOL = "a package of the runtime changed"
_BASE = "what all are built with changed"
_COLD_LIST = "list, cold"
_COLD_LOCAL = "cold, local cache"
_COLD_REMOTE = "cold, remote cache alone"

#: Those that are measured once: they take as long as a build.
_ONCE = (_FIRST, _BASE)

#: Those that may run no process.
_CACHED = (_NOTHING, _COLD_LOCAL, _COLD_REMOTE)


class Measurement:
    """The rows of one number of images."""

    def __init__(self, images: GeneratedImages, paths: int, options: tuple[str, ...]) -> None:
        """:param options: to use the remote cache, which everything but "cold, local cache" does."""
        self.images = images
        self.paths = paths
        self.options = options
        self.seconds: dict[str, list[float]] = {}
        self.processes: dict[str, list[int]] = {}
        self.lookups: dict[str, list[int]] = {}
        self._expected: dict[int, str] = {}

    def measure(self, title: str, *arguments: str) -> None:
        """Runs Pants and notes what it took."""
        # The option that counts is one of all runs: another set of options is another build to pantsd.
        seconds, counters = self.images.scratch.counted(*arguments)
        processes = counters["local_execution_requests"]
        if title in _CACHED and processes:
            print(f"{title}: {processes} processes ran: {counters}", file=sys.stderr)
        lookups = ("local_cache_requests", "remote_cache_requests")
        self.seconds.setdefault(title, []).append(seconds)
        self.processes.setdefault(title, []).append(processes)
        self.lookups.setdefault(title, []).append(max(counters.get(name, 0) for name in lookups))
        # The whole of it takes long.
        print(
            f"{self.images.count} images, {title}: {seconds:.2f} s, {processes} processes, "
            f"{self.lookups[title][-1]} lookups, load {os.getloadavg()[0]:.1f}",
            file=sys.stderr,
        )

    def package(self, title: str, *options: str, changed: set[int] | None = None) -> None:
        """Packages all images.

        :param changed: numbers of those whose digests must differ from the time before; None for
            the first time.
        :raises RuntimeError: others differ.
        """
        shutil.rmtree(self.images.scratch.root / "dist", ignore_errors=True)
        self.measure(title, *options, "package", _ALL)
        digests = self.images.digests()
        differ = {number for number in digests if digests[number] != self._expected.get(number)}
        if changed is not None and differ != changed:
            raise RuntimeError(f"{title}: {len(differ)} images differ, not {len(changed)}")
        self._expected = digests

    def change(self, title: str, write: Callable[[str], None], changed: set[int]) -> None:
        """Packages all images after `write` has changed a file."""
        write(_fresh_word())
        # The daemon learns of changed files from the kernel; this is not what is measured.
        time.sleep(0.2)
        self.package(title, *self.options, changed=changed)

    def warm(self, runs: int, base: bool) -> None:
        """Measures what pantsd does.

        :param base: also with another base, which takes as long as the first build.
        """
        images, every = self.images, set(range(self.images.count))
        self.images.scratch.counted(*self.options, "list", _ALL)
        self.package(_FIRST, *self.options)
        for _ in range(runs):
            self.package(_NOTHING, *self.options, changed=set())
            self.measure(_LIST, *self.options, "list", _ALL)
            self.change(_LEAF, images.write_leaf, {0})
            self.change(_TOOL, images.write_tool, every)
        if base:
            self.change(_BASE, lambda word: images.write_base(self.paths, word), every)

    def cold(self, runs: int) -> None:
        """Measures what Pants does without a daemon, with a local and with a remote cache."""
        scratch = self.images.scratch
        scratch.stop_pantsd()
        for _ in range(runs):
            self.measure(_COLD_LIST, _COLD, "list", _ALL)
            self.package(_COLD_LOCAL, _COLD, changed=set())
        if not self.options:
            return
        machine = scratch.root / ".pants.d" / "machine"
        own = (f"--local-store-dir={machine}/store", f"--named-caches-dir={machine}/named")
        for _ in range(runs):
            shutil.rmtree(machine, ignore_errors=True)
            self.package(_COLD_REMOTE, _COLD, *own, *self.options, changed=set())

    def report(self) -> dict[str, Any]:
        return {
            "images": self.images.count,
            "one_file": self.images.one_file,
            "seconds": self.seconds,
            "processes": self.processes,
            "lookups": self.lookups,
        }


def main() -> int:
    arguments = _parse_arguments()
    sizes = []
    for count in arguments.images:
        with contextlib.ExitStack() as running:
            scratch = running.enter_context(scratch_monorepo())
            options: tuple[str, ...] = ()
            if not arguments.no_remote:
                options = running.enter_context(remote_cache(scratch.root / ".pants.d" / "remote"))
            images = GeneratedImages(scratch, count, arguments.one_file)
            word = "same" if arguments.one_file else _fresh_word()
            images.write(paths=arguments.paths, layers=arguments.layers, word=word)
            measurement = Measurement(images, arguments.paths, options)
            measurement.warm(arguments.runs, not arguments.no_base)
            measurement.cold(arguments.runs)
        sizes.append(measurement.report())
        print(_table(sizes[-1:], arguments), file=sys.stderr)
    report = {
        "load": os.getloadavg(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "runs": arguments.runs,
        "paths": arguments.paths,
        "layers": arguments.layers,
        "sizes": sizes,
    }
    print(_table(sizes, arguments))
    if arguments.json:
        temporary = f"{arguments.json}.partial"
        with open(temporary, "w") as file:
            json.dump(report, file, indent=2, sort_keys=True)
            file.write("\n")
        os.replace(temporary, arguments.json)
    ran = [size for size in sizes for title in _CACHED if any(size["processes"].get(title, ()))]
    return 1 if ran else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--images", type=int, nargs="+", default=[20, 50, 100, 200], help="numbers of images"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each command (3)")
    parser.add_argument("--paths", type=int, default=60, help="store paths of the runtime (60)")
    parser.add_argument("--layers", type=int, default=10, help="layers of the runtime (10)")
    parser.add_argument(
        "--one-file", action="store_true", help="all packages of the images in one Nix file"
    )
    parser.add_argument("--no-base", action="store_true", help="without a change that all depend on")
    parser.add_argument("--no-remote", action="store_true", help="without a remote cache")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.runs < 1 or min(arguments.images) < 1:
        parser.error("--runs and --images: expected at least 1")
    return arguments


def _fresh_word() -> str:
    """Returns a word that no earlier run used, so that neither Pants nor Nix knows its result."""
    return f"{time.time_ns():x}"


def _table(sizes: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """Returns a line for each row: seconds, milliseconds an image, processes, for each size."""
    titles = [title for title in _ROWS if title in sizes[0]["seconds"]]
    lines = [
        f"Runtime of {arguments.paths + 1} store paths in {arguments.layers} layers; medians of "
        f"{arguments.runs} runs (1 for {', '.join(t for t in _ONCE if t in titles)})",
        "",
        f"{'images':38}" + "".join(f"{size['images']:>24}" for size in sizes),
        f"{'':38}" + f"{'seconds':>9}{'ms each':>8}{'ran':>7}" * len(sizes),
    ]
    for title in titles:
        line = f"{title:38}"
        for size in sizes:
            median = statistics.median(size["seconds"][title])
            processes = statistics.median(size["processes"][title])
            line += f"{median:>9.2f}{1000 * median / size['images']:>8.0f}{processes:>7.0f}"
        lines.append(line)
    return "\n".join(lines)


_ROWS = (
    _FIRST,
    _LIST,
    _NOTHING,
    _LEAF,
    _TOOL,
    _BASE,
    _COLD_LIST,
    _COLD_LOCAL,
    _COLD_REMOTE,
)


if __name__ == "__main__":
    sys.exit(main())
