"""Compares compressed layers of `nixoci` to `tar … | zstd` and `tar … | pigz`, in one run.

    python benchmarks/compress/run.py [--runs N] [--megabytes N] [--json FILE]

The layer is a copy of the installation of Python that runs this: sources, bytecode, shared
libraries, as layers of language runtimes are. Whole processes are timed with a warm page cache, and
take turns. Every program packs, compresses and hashes; ours hashes twice, since a layer has the
digest of its tar as well. Trust a ratio within about a tenth.

The Python that runs it needs the two packages that `nixoci.compression.formats` names.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SOURCE = str(Path(__file__).resolve().parents[2] / "src" / "python")
_STORE_PATH = f"/nix/store/{'0' * 32}-python"

_DIGEST = """
import os, sys
sys.path.insert(0, sys.argv[1])
from nixoci.compression.formats import Compression
from nixoci.layer.digest import digest_layer
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.path import StorePath
path = StorePath.parse(sys.argv[3])
recipe = LayerRecipe((RecipeEntry(path, "sha256-" + "A" * 43 + "=", path),))
compression = None
if sys.argv[4] != "none":
    compression = Compression.create(sys.argv[4], int(sys.argv[5]))
print(digest_layer(recipe, store_root=sys.argv[2], compression=compression).size)
"""

_TAR = (
    "tar --create --file=- --sort=name --format=ustar --mtime=@1 --owner=0 --group=0 "
    "--numeric-owner --directory={root} nix"
)

#: What is compared: our format and level, the program, and what it is called in the table.
_PAIRS = (
    ("zstd", 3, "zstd -3 -T0"),
    ("zstd", 9, "zstd -9 -T0"),
    ("gzip", 6, "pigz -6"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=150, help="most bytes to copy, / 1,000,000")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    for program in ("tar", "openssl", "zstd", "pigz"):
        if shutil.which(program) is None:
            print(f"This benchmark compares with {program}, which is not on PATH.", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory(prefix="nixoci-benchmark-") as root:
        size = _copy(root + _STORE_PATH, arguments.megabytes * 1_000_000)
        report = _measure(root, arguments.runs)
    report["bytes"] = size
    print(_table(report))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    return 0


def _copy(destination: str, limit: int) -> int:
    """Copies the library of this Python, in the order of names, and returns the bytes copied."""
    source = os.path.join(sys.base_prefix, "lib")
    total = 0
    for directory, directories, files in os.walk(source):
        directories.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if total >= limit or os.path.islink(path):
                continue
            target = os.path.join(destination, os.path.relpath(path, source))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(path, target)
            total += os.path.getsize(target)
    return total


def _measure(root: str, runs: int) -> dict[str, Any]:
    tar = _TAR.format(root=shlex.quote(root))
    python = [sys.executable, "-c", _DIGEST, _SOURCE, root, _STORE_PATH]
    programs: dict[str, list[str]] = {
        "tar | openssl": ["sh", "-c", f"{tar} | openssl dgst -sha256"],
        "ours none": [*python, "none"],
    }
    sizes = {}
    for name, level, program in _PAIRS:
        programs[program] = ["sh", "-c", f"{tar} | {program} -c | openssl dgst -sha256"]
        programs[f"ours {name} {level}"] = [*python, name, str(level)]
        counted = subprocess.run(
            ["sh", "-c", f"{tar} | {program} -c | wc -c"], check=True, stdout=subprocess.PIPE
        )
        sizes[program] = int(counted.stdout)
    for name, command in programs.items():
        if name.startswith("ours"):
            sizes[name] = int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    names = list(programs)
    for run in range(runs):
        for name in names[run % len(names) :] + names[: run % len(names)]:
            start = time.perf_counter()
            subprocess.run(programs[name], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    return {
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "sizes": sizes,
        "seconds": seconds,
        "medians": {name: statistics.median(times) for name, times in seconds.items()},
    }


def _table(report: dict[str, Any]) -> str:
    medians, sizes = report["medians"], report["sizes"]
    tar = sizes["ours none"]
    lines = [
        f"{report['bytes'] / 1e6:.0f} MB, {report['cpus']} processors, load {report['load'][0]:.1f}",
        f"{'':14} {'seconds':>8} {'of tar':>7}   {'to':13} {'time':>7} {'size':>6}",
    ]
    pairs = [("none", "", "tar | openssl"), *_PAIRS]
    for name, level, program in pairs:
        ours = f"ours {name} {level}".strip()
        ratio = f"{sizes[ours] / sizes[program]:6.3f}" if program in sizes else ""
        lines.append(
            f"{ours:14} {medians[ours]:8.2f} {sizes[ours] / tar:7.3f}   {program:12} "
            f"{medians[ours] / medians[program]:8.2f} {ratio:>6}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
