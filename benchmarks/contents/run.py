"""Measures images of what Pants builds: many images with the same large file.

    python3 benchmarks/contents/run.py [--json FILE] [--images N] [--megabytes N]

Whole processes are timed, in a scratch monorepo without pantsd. While they run, what they write below the
directory for sandboxes is measured: contents that are written once for each image would show there. The
limit is hashing the file with openssl, once for each layer that is made.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "package"))

from scratch import Scratch, scratch_monorepo  # noqa: E402

_SHARED = """\
nix_image(name="shared", contents={"bench/big:big": "/app/api.pex"}, cmd=["@NUMBER@"])
nix_image(name="own", contents={"bench/big:big": "/app/@NUMBER@.pex"})
"""


class DiskPeak:
    """Bytes of a directory at most, while a `with` block runs; hard links count once."""

    def __init__(self, directory: Path) -> None:
        self.bytes = 0
        self._directory = directory
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> DiskPeak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            sizes: dict[int, int] = {}
            for directory, _, names in os.walk(self._directory):
                for name in names:
                    with contextlib.suppress(OSError):
                        status = os.lstat(os.path.join(directory, name))
                        sizes[status.st_ino] = status.st_blocks * 512
            self.bytes = max(self.bytes, sum(sizes.values()))


@contextlib.contextmanager
def _watched() -> Iterator[tuple[DiskPeak, str]]:
    with tempfile.TemporaryDirectory(prefix="nixoci-sandboxes-") as directory:
        with DiskPeak(Path(directory)) as peak:
            yield peak, f"--local-execution-root-dir={directory}"


def _write_big(scratch: Scratch, megabytes: int) -> Path:
    path = scratch.root / "bench" / "big" / "api.pex"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    return path


def _measure(scratch: Scratch, title: str, *arguments: str) -> dict[str, object]:
    with _watched() as (peak, option):
        seconds, counters = scratch.counted("--no-pantsd", option, *arguments)
    row = {
        "case": title,
        "seconds": seconds,
        "processes": counters.get("local_execution_requests", 0),
        "disk_megabytes": peak.bytes / 1e6,
        "memory_megabytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
    }
    print(
        "{case:<44} {seconds:7.1f} s {processes:4d} processes {disk_megabytes:8.0f} MB in sandboxes "
        "{memory_megabytes:6.0f} MB of memory".format(**row),
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    parser.add_argument("--images", type=int, default=50, help="how many (default: %(default)s)")
    parser.add_argument("--megabytes", type=int, default=200, help="of the file")
    options = parser.parse_args()
    rows = []
    with scratch_monorepo() as scratch:
        scratch.write("bench/big/BUILD", 'file(name="big", source="api.pex")\n')
        for number in range(options.images):
            scratch.write(f"bench/i{number}/BUILD", _SHARED, NUMBER=number)
        shared = [f"bench/i{number}:shared" for number in range(options.images)]
        own = [f"bench/i{number}:own" for number in range(options.images)]
        big = _write_big(scratch, options.megabytes)
        rows.append(_measure(scratch, "list", "list", "bench::"))
        rows.append(_measure(scratch, "package: one image", "package", shared[0]))
        big = _write_big(scratch, options.megabytes)
        rows.append(_measure(scratch, f"package: {len(shared)} images, one layer", "package", *shared))
        rows.append(_measure(scratch, f"package: {len(own)} images, a layer each", "package", *own))
        rows.append(_measure(scratch, "package: nothing changed", "package", *shared, *own))
        start = time.perf_counter()
        subprocess.run(
            ["openssl", "dgst", "-sha256", str(big)], check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - start
        print(f"{'openssl dgst -sha256 of the file':<44} {seconds:7.2f} s")
        rows.append({"case": "openssl", "seconds": seconds})
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
