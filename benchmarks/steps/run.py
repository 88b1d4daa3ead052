"""Measures what is cheaper: to compute a step in the rule, or to look its result up in a cache.

    python3 benchmarks/steps/run.py [--paths N …] [--runs N] [--no-remote] [--no-lookups] [--json FILE]

The steps are those that need no store: subtract, split, register, assemble. They are functions of
`nixoci`, and are timed in this Python, on generated closures of N paths. A lookup is that of a
process with one file in and one file out, the size of such a closure, which Pants asks its own or a
remote cache for and reads the result of; the time is what the rule that asks for it waits.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Callable

_HERE = Path(__file__).resolve().parent
for directory in ("../src/python", "package", "monorepo"):
    sys.path.insert(0, str(_HERE.parent / directory))

from cache_server import remote_cache  # noqa: E402
from nixoci.image.config import ImageConfig  # noqa: E402
from nixoci.image.image import History, LayerInImage, assemble  # noqa: E402
from nixoci.layer.layer import Layer  # noqa: E402
from nixoci.layering.contents import require_closed, subtract  # noqa: E402
from nixoci.layering.split import split  # noqa: E402
from nixoci.recipe.database import DatabaseRecipe  # noqa: E402
from nixoci.store.closure import ClosureGraph, PathInfo, parse_nix_path_info  # noqa: E402
from nixoci.store.path import StorePath  # noqa: E402
from nixoci.store.registration import registrations_of  # noqa: E402
from scratch import Scratch, scratch_monorepo  # noqa: E402

_LAYERS = 40


def generated_closure(paths: int) -> ClosureGraph:
    """Returns a closed graph: sizes and numbers of references vary as in a real one, none is real."""
    chance = random.Random(paths)
    letters = "0123456789abcdfghijklmnpqrsvwxyz"
    names: list[StorePath] = []
    infos = []
    for number in range(paths):
        digits = "".join(chance.choices(letters, k=32))
        path = StorePath.parse(f"/nix/store/{digits}-package-{number}-1.{number % 7}")
        references = {path} if chance.random() < 0.5 else set()
        if names:
            # Most things need what few others do as well: the first paths are everybody's.
            wanted = min(len(names), 1 + int(chance.expovariate(0.25)))
            references |= {names[int(len(names) * chance.random() ** 2)] for _ in range(wanted)}
            references.add(names[-1] if chance.random() < 0.3 else names[0])
        size = int(chance.lognormvariate(11, 2.5)) + 1000
        infos.append(PathInfo(path, _NAR_HASH, size, tuple(sorted(references))))
        names.append(path)
    return ClosureGraph(infos)


_FLOW = ("what Nix says of the closure", "graph to JSON and back", "subtract", "split by expected cost")

_NAR_HASH = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def computed(graph: ClosureGraph, runs: int) -> dict[str, float]:
    """Returns the median seconds of each step."""
    roots = graph.keys() - {r for i in graph.values() for r in i.references if r != i.path}
    contents = subtract(graph, packages=roots)
    layer = Layer("sha256:" + "0" * 64, 1, "sha256:" + "0" * 64)
    layers = [LayerInImage(layer, History(created_by="nixoci")) for _ in range(_LAYERS)]
    infos = [
        {"path": path, "narHash": info.nar_hash, "narSize": info.nar_size, "references": list(info.references)}
        for path, info in graph.items()
    ]
    path_info = json.dumps(infos).encode()
    steps: dict[str, Callable[[], Any]] = {
        "what Nix says of the closure": lambda: parse_nix_path_info(path_info).closure(roots),
        "subtract": lambda: subtract(graph, packages=roots),
        "prove closed": lambda: require_closed([contents]),
        "split by popularity": lambda: split(graph, _LAYERS, "popularity"),
        "split by size": lambda: split(graph, _LAYERS, "size_first"),
        "split by expected cost": lambda: split(graph, _LAYERS, "expected_cost"),
        "register": lambda: DatabaseRecipe(registrations_of(graph.unsigned())).to_json(),
        "assemble": lambda: assemble(ImageConfig(architecture="amd64", os="linux"), layers),
        "graph to JSON and back": lambda: ClosureGraph.from_json(graph.to_json()),
    }
    seconds = {name: _median(step, runs) for name, step in steps.items()}
    # What the flow does with a closure that is new: the answer of Nix is parsed, written and read again.
    seconds["closure, subtract, split"] = sum(seconds[name] for name in _FLOW)
    return seconds


def _median(step: Callable[[], Any], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def looked_up(scratch: Scratch, sizes: list[int], *, remote: bool) -> dict[str, list[float]]:
    """Returns the median seconds of a lookup for each size of input and output, in bytes."""
    found: dict[str, list[float]] = {"run, nothing cached": [], "local cache": []}
    for size in sizes:
        found["run, nothing cached"].append(_lookups(scratch, size))
        found["local cache"].append(_lookups(scratch, size))
    if remote:
        found["remote cache"] = []
        with remote_cache(scratch.root / ".pants.d" / "remote-cache") as options:
            for size in sizes:
                _lookups(scratch, size, *options, "--local-store-dir=.pants.d/writes")
                found["remote cache"].append(
                    _lookups(scratch, size, *options, f"--local-store-dir=.pants.d/reads-{size}")
                )
    return found


def _lookups(scratch: Scratch, size: int, *options: str) -> float:
    _, text = scratch.pants(
        "--no-pantsd",
        f"--pythonpath=+['{_HERE / 'backend'}']",
        "--backend-packages=+['lookups']",
        *options,
        "lookups",
        f"--bytes={size}",
    )
    (line,) = [line for line in text.splitlines() if line.startswith("[")]
    return statistics.median(json.loads(line))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--paths", type=int, nargs="+", default=[60, 500, 5000])
    parser.add_argument("--runs", type=int, default=5, help="runs of each step (5)")
    parser.add_argument("--no-remote", action="store_true", help="without a remote cache")
    parser.add_argument("--no-lookups", action="store_true", help="without Pants")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    graphs = [generated_closure(paths) for paths in arguments.paths]
    steps = [computed(graph, arguments.runs) for graph in graphs]
    sizes = [len(graph.to_json()) for graph in graphs]
    lookups: dict[str, list[float]] = {}
    if not arguments.no_lookups:
        with scratch_monorepo() as scratch:
            lookups = looked_up(scratch, sizes, remote=not arguments.no_remote)
    rows = {name: [step[name] for step in steps] for name in steps[0]}
    rows.update({f"process: {name}": seconds for name, seconds in lookups.items()})
    print("milliseconds" + " " * 22 + "".join(f"{paths:>9}" for paths in arguments.paths))
    for name, seconds in rows.items():
        print(f"{name:34}" + "".join(f"{1000 * value:>9.2f}" for value in seconds))
    if arguments.json:
        report = {"paths": arguments.paths, "bytes": sizes, "seconds": rows}
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
