"""Compares what several images that share paths cost a registry, split alone and with a plan.

    python3 benchmarks/layering/siblings.py [--layers N ...] [--updates N] [--seeds N] [--json FILE]

The images are the closures of this directory, whose union is taken for a monorepo. Columns:

- registry: bytes of all layers of the first revision, divided by those of all store paths;
- push: bytes of layers that the registry did not have, of all updates, divided by those of store paths
  that the revision before did not have.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Callable, Sequence

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parents[1] / "src" / "python"), str(_HERE)]

from nixoci.layering.shared import ImagePaths, split_shared  # noqa: E402
from nixoci.layering.split import Split, split  # noqa: E402
from nixoci.store.closure import ClosureGraph  # noqa: E402
from run import read_scenario  # noqa: E402
from updates import updates  # noqa: E402

_Splitter = Callable[[Sequence[ClosureGraph], int], Sequence[Split]]


def _alone(strategy: str) -> _Splitter:
    return lambda graphs, layers: [split(graph, layers, strategy) for graph in graphs]


def _planned(graphs: Sequence[ClosureGraph], layers: int) -> Sequence[Split]:
    return split_shared([ImagePaths(graph, layers) for graph in graphs])


_SPLITTERS: dict[str, _Splitter] = {
    "popularity": _alone("popularity"),
    "size_first": _alone("size_first"),
    "expected_cost": _alone("expected_cost"),
    "layer plan": _planned,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[20, 40, 100])
    parser.add_argument("--updates", type=int, default=14)
    parser.add_argument("--seeds", type=int, default=3, help="streams of updates (3)")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    files = sorted(_HERE.glob("*.json.gz"))
    monorepo = ClosureGraph().union(*(read_scenario(file)[1][0] for file in files))
    streams = [list(updates(monorepo, arguments.updates, seed)) for seed in range(arguments.seeds)]
    report = []
    print(f"{len(files)} images, {len(monorepo)} store paths")
    print(f"{'layers split':21}{'registry':>9}{'push':>8}")
    for layers in arguments.layers:
        for name, splitter in _SPLITTERS.items():
            figures = [_measure(stream, splitter, layers) for stream in streams]
            registry, push = (sum(values) / len(values) for values in zip(*figures))
            print(f"{layers:>6} {name:14}{registry:>9.3f}{push:>8.3f}", flush=True)
            report.append({"layers": layers, "split": name, "registry": registry, "push": push})
        print()
    if arguments.json:
        temporary = f"{arguments.json}.partial"
        with open(temporary, "w") as file:
            json.dump(report, file, indent=2)
            file.write("\n")
        os.replace(temporary, arguments.json)
    return 0


def _measure(
    stream: Sequence[tuple[ClosureGraph, ...]], splitter: _Splitter, layers: int
) -> tuple[float, float]:
    registry = 0.0
    push = ideal = 0
    pushed: set[tuple[str, ...]] = set()
    before: set[str] = set()
    for graphs in stream:
        known = ClosureGraph().union(*graphs)
        found = {part for parts in splitter(graphs, layers) for part in parts}
        new = sum(known[path].nar_size for part in found - pushed for path in part)
        if before:
            push += new
            ideal += sum(info.nar_size for path, info in known.items() if path not in before)
        else:
            registry = new / sum(info.nar_size for info in known.values())
        pushed |= found
        before = set(known)
    return registry, push / ideal


if __name__ == "__main__":
    sys.exit(main())
