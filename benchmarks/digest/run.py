"""Compares digesting with `nixoci` to `tar … | openssl dgst -sha256`, on the same trees in one run.

    python3 benchmarks/digest/run.py [--quick] [--runs N] [--workdir DIR] [--json FILE]

Whole processes are timed, as a user or a build would start them, with a warm page cache. The
programs take turns, so that what else the machine does hits all alike; medians of wall seconds are
printed, and ratios to tar and openssl. Trust a ratio within about a tenth, and only if the load
averages, which are printed too, do not tell of others at work.

The core runs as a wheel installs it, compiled; and, in one line, as the uncompiled zipapp that
Pants' sandboxes start. Either way without the question to Nix whether the paths are valid.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Iterator, Optional

from trees import TREES, Tree, generate

_SOURCE = str(Path(__file__).resolve().parents[2] / "src" / "python")
_MANY = 40
#: Trees whose turns are short get more of them: until so many seconds, or so many times the turns.
_ENOUGH_SECONDS = 20
_MOST_TIMES = 5
_NO_HASH = "sha256-" + "A" * 43 + "="

#: Debian's `sha256sum` takes several times as long as everything else, so it gets every fifth turn.
_SLOW = "tar + sha256sum"
_SLOW_TURNS = 5

#: What is asked: by tree, at most this much of the time of tar and openssl.
TARGETS = {
    "one layer": {"small": 1.0, "big": 0.7, "mixed": 0.6},
    "many layers": {"small": 1.0, "big": 0.5, "mixed": 0.43},
}

#: And on big files, at most this much of the time of SHA-256 alone, on one core or shared by all.
HASH_TARGETS = {"one layer": {"big": 1.2}, "many layers": {"big": 1.4}}
_ALONE = "SHA-256 alone, 1 core"

#: What the command `digest` imports and does, for one recipe a line.
_DIGEST = """
import gc, sys
sys.path.insert(0, sys.argv[1])
from nixoci.later import import_later
import_later("inspect")
from nixoci.layer.digest import digest_layer, digest_layers
from nixoci.recipe.layer import LayerRecipe
with open(sys.argv[2], "rb") as file:
    recipes = [LayerRecipe.from_json(line) for line in file]
weights = [int(weight) for weight in sys.argv[5:]]
layers = digest_layers(recipes, jobs=int(sys.argv[4]), store_root=sys.argv[3], weights=weights)
for layer in layers:
    print(layer.digest, layer.size)
gc.freeze()
"""

#: The limit of everything: the hash of as many bytes, without reading or packing any. One process
#: hashes the whole; on all processors, each hashes its part.
_HASH_ALONE = """
import hashlib, os, sys
size, jobs = int(sys.argv[1]), int(sys.argv[2])
children = []
for _ in range(jobs - 1):
    child = os.fork()
    if not child:
        break
    children.append(child)
buffer = bytes(1 << 18)
digest = hashlib.sha256()
for _ in range(size // jobs >> 18):
    digest.update(buffer)
for child in children:
    os.waitpid(child, 0)
"""

_TAR = (
    "tar --create --file=- --sort=name --hard-dereference --format=ustar --mtime=@1 "
    "--owner=0 --group=0 --numeric-owner --directory={root} nix | {hash}"
)

_SPEED = "openssl speed -mr -seconds 1 -bytes 16384 -evp sha256"


def main() -> int:
    arguments = _parse_arguments()
    for program in ("tar", "openssl", "sha256sum"):
        if shutil.which(program) is None:
            print(f"This benchmark compares with {program}, which is not on PATH.", file=sys.stderr)
            return 1
    report: dict[str, Any] = {
        "cpus": _cpus(),
        "python": sys.version.split()[0],
        "load_averages": [os.getloadavg()],
        "openssl_speed": _openssl_speed(),
        "trees": [],
    }
    with _workdir(arguments.workdir) as workdir:
        os.makedirs(workdir, exist_ok=True)
        zipapp = _write_zipapp(f"{workdir}/nixoci.pyz")
        for tree in TREES:
            if tree.name in arguments.trees:
                sized = tree.scaled(0.1) if arguments.quick else tree
                report["trees"].append(_measure(sized, workdir, zipapp, arguments.runs))
                report["load_averages"].append(os.getloadavg())
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
    parser.add_argument("--quick", action="store_true", help="trees of a tenth, three runs")
    parser.add_argument("--runs", type=int, help="least runs of each program (7, with --quick 3)")
    parser.add_argument("--workdir", help="keep the trees there for the next time")
    parser.add_argument("--json", help="write the figures to this file")
    names = [tree.name for tree in TREES]
    parser.add_argument("--trees", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    if arguments.runs is None:
        arguments.runs = 3 if arguments.quick else 7
    if arguments.runs < 1:
        parser.error("--runs: expected at least 1")
    return arguments


@contextlib.contextmanager
def _workdir(given: Optional[str]) -> Iterator[str]:
    if given:
        yield os.path.abspath(given)
        return
    with tempfile.TemporaryDirectory(prefix="nixoci-benchmark-") as path:
        yield path


def _measure(tree: Tree, workdir: str, zipapp: str, runs: int) -> dict[str, Any]:
    root = f"{workdir}/{tree.name}-{tree.files}"
    paths = generate(tree, root)
    shares = [share for share in (paths[i::_MANY] for i in range(_MANY)) if share]
    one = [_SOURCE, _write_recipes(f"{root}/one.json", [paths]), root]
    many = [_SOURCE, _write_recipes(f"{root}/many.json", shares), root]
    # Whoever splits a closure into layers knows the NAR sizes of the paths.
    sizes = {path: _size(root + path) for path in paths}
    everything = [sum(sizes.values())]
    each = [sum(sizes[path] for path in share) for share in shares]
    alone = _digest(*one, 1, everything)
    size = sum(int(line.split()[1]) for line in _output(alone).splitlines())
    programs: dict[str, list[str]] = {
        "tar + openssl": _tar(root, "openssl dgst -sha256"),
        _SLOW: _tar(root, "sha256sum"),
        "one layer": _digest(*one, _cpus(), everything),
        "many layers": _digest(*many, _cpus(), each),
        "one layer, one process": alone,
        "one layer, zipapp": _digest(zipapp, *one[1:], _cpus(), everything),
        _ALONE: _python(_HASH_ALONE, str(size), "1"),
        "SHA-256 alone, all cores": _python(_HASH_ALONE, str(size), str(_cpus())),
    }
    for name, command in programs.items():
        if name != _SLOW:
            _output(command)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    names = list(programs)
    begin = time.perf_counter()
    run = 0
    while run < runs or (
        run < _MOST_TIMES * runs and time.perf_counter() - begin < _ENOUGH_SECONDS
    ):
        # Another first program each time, so that no one always follows the same other.
        for name in names[run % len(names) :] + names[: run % len(names)]:
            if name == _SLOW and run % _SLOW_TURNS:
                continue
            start = time.perf_counter()
            _output(programs[name])
            seconds[name].append(time.perf_counter() - start)
        run += 1
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    yardstick = medians["tar + openssl"]
    # What one processor, or all together, would need if hashing were all that there is to do.
    limits = {"one layer": medians[_ALONE], "many layers": medians[_ALONE] / _cpus()}
    return {
        "name": tree.name,
        "files": tree.files,
        "paths": tree.paths,
        "layer_bytes": size,
        "runs": run,
        "seconds": seconds,
        "medians": medians,
        "ratios": {name: median / yardstick for name, median in medians.items()},
        "targets": {name: targets[tree.name] for name, targets in TARGETS.items()},
        "hash_ratios": {name: medians[name] / limit for name, limit in limits.items()},
        "hash_targets": {name: targets.get(tree.name) for name, targets in HASH_TARGETS.items()},
    }


def _write_recipes(file_name: str, layers: list[list[str]]) -> str:
    """Writes one recipe a line. The hashes are made up: digesting does not look at them."""
    sys.path.insert(0, _SOURCE)
    from nixoci.recipe.layer import LayerRecipe, RecipeEntry
    from nixoci.store.path import StorePath

    with open(file_name, "wb") as file:
        for paths in layers:
            entries = (
                RecipeEntry(StorePath.parse(path), _NO_HASH, path) for path in sorted(paths)
            )
            file.write(LayerRecipe(tuple(entries)).to_json() + b"\n")
    return file_name


def _write_zipapp(file_name: str) -> str:
    """Writes the core as the plugin does: sources only, not compressed."""
    with zipfile.ZipFile(file_name, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(Path(_SOURCE, "nixoci").rglob("*.py")):
            archive.write(path, path.relative_to(_SOURCE))
    return file_name


def _size(path: str) -> int:
    return sum(
        os.lstat(os.path.join(directory, name)).st_size
        for directory, _, names in os.walk(path)
        for name in names
    )


def _tar(root: str, hash_command: str) -> list[str]:
    return ["sh", "-c", _TAR.format(root=shlex.quote(root), hash=hash_command)]


def _openssl_speed() -> float:
    """Bytes of SHA-256 in a second, in blocks of 16 KiB: what one processor can do at most."""
    output = _output(["sh", "-c", f"{_SPEED} 2>/dev/null"])
    # The last line is `+F:<number>:<algorithm>:<bytes a second>`.
    return float(output.split()[-1].rpartition(":")[2])


def _digest(core: str, recipes: str, root: str, jobs: int, weights: list[int]) -> list[str]:
    return _python(_DIGEST, core, recipes, root, str(jobs), *map(str, weights))


def _python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-I", "-c", program, *arguments]


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _table(report: dict[str, Any]) -> str:
    speed = report["openssl_speed"]
    lines = [
        f"{report['cpus']} processors, Python {report['python']}, load averages of a minute "
        + ", ".join(f"{averages[0]:.1f}" for averages in report["load_averages"]),
        f"openssl speed: SHA-256 of {speed / 1e6:.0f} MB/s on one processor",
        "",
        f"{'':26}{'seconds':>9}{'of tar':>9}{'target':>9}{'of hash':>9}{'target':>9}",
    ]
    for tree in report["trees"]:
        megabytes = tree["layer_bytes"] / 1e6
        lines.append(
            f"{tree['name']}: {tree['files']} files, {megabytes:.0f} MB of tar, "
            f"medians of {tree['runs']} runs"
        )
        for name, median in tree["medians"].items():
            figures = (
                tree["ratios"][name],
                tree["targets"].get(name),
                tree["hash_ratios"].get(name),
                tree["hash_targets"].get(name),
            )
            shown = "".join(f"{figure:>9.2f}" if figure else " " * 9 for figure in figures)
            lines.append(f"  {name:24}{median:>9.3f}{shown}".rstrip())
        limit = tree["layer_bytes"] / speed
        ratio = limit / tree["medians"]["tar + openssl"]
        lines.append(f"  {'openssl speed, 1 core':24}{limit:>9.3f}{ratio:>9.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
