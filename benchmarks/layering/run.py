"""Compares strategies that split store paths over layers, on streams of updates.

    python3 benchmarks/layering/run.py [--layers N ...] [--strategies NAME ...] [--json FILE]

A scenario is a closure graph and 32 revisions of it: the application changes, or a security update
changes a package and all that depends on it. Each revision is split without knowledge of any other.
Ratios are bytes of all revisions but the first, divided by those of images of a single layer:

- push: layers that no revision before had;
- pull: layers that the revision just before did not have;
- ideal: store paths that the revision just before did not have.

Seconds are of the processor, for one split, the mean of all revisions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parents[1] / "src" / "python"))

from nixoci.layering.split import split  # noqa: E402
from nixoci.store.closure import ClosureGraph, PathInfo  # noqa: E402
from nixoci.store.path import StorePath  # noqa: E402

_STRATEGIES = ["popularity", "size_first", "expected_cost"]

#: What is asked of `expected_cost`: the mean push at most so many times the ideal one.
_ASKED = {20: 1.12, 40: 1.05}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[20, 40, 100])
    parser.add_argument("--strategies", nargs="+", default=_STRATEGIES, choices=_STRATEGIES)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    report: list[dict[str, Any]] = []
    scenarios = [read_scenario(file) for file in sorted(_HERE.glob("*.json.gz"))]
    print(f"{'layers strategy':21}{'scenario':10}{'push':>8}{'pull':>8}{'ideal':>8}", end="")
    print(f"{'/ ideal':>9}{'used':>6}{'seconds':>9}")
    for max_layers in arguments.layers:
        for strategy in arguments.strategies:
            rows = []
            for name, graphs in scenarios:
                row = {"scenario": name, **_measure(graphs, max_layers, strategy)}
                rows.append(row)
                _print(max_layers, strategy, row)
            names = [key for key in rows[0] if key != "scenario"]
            mean = {key: sum(row[key] for row in rows) / len(rows) for key in names}
            mean["to_ideal"] = mean["push"] / mean["ideal"]
            _print(max_layers, strategy, {"scenario": "mean", **mean})
            if strategy == "expected_cost" and max_layers in _ASKED:
                print(f"{'':21}asked: mean at most {_ASKED[max_layers]} times the ideal")
            print()
            report.append(
                {"max_layers": max_layers, "strategy": strategy, "scenarios": rows, "mean": mean}
            )
    if arguments.json:
        temporary = f"{arguments.json}.partial"
        with open(temporary, "w") as file:
            json.dump(report, file, indent=2, sort_keys=True)
            file.write("\n")
        os.replace(temporary, arguments.json)
    return 0


def read_scenario(file: Path) -> tuple[str, list[ClosureGraph]]:
    """Returns the name of a scenario and its revisions."""
    with gzip.open(file) as stream:
        document = json.load(stream)
    graphs = [
        ClosureGraph(
            PathInfo(
                StorePath.parse(entry["path"]),
                entry["narHash"],
                entry["narSize"],
                tuple(sorted(StorePath.parse(path) for path in entry["references"])),
            )
            for entry in revision["graph"]
        )
        for revision in document["revisions"]
    ]
    return document["name"], graphs


def _measure(graphs: list[ClosureGraph], max_layers: int, strategy: str) -> dict[str, Any]:
    pushed: set[Any] = set()
    last: set[Any] = set()
    paths: set[StorePath] = set()
    push = pull = ideal = everything = used = 0
    start = time.process_time()
    splits = [split(graph, max_layers, strategy) for graph in graphs]
    seconds = (time.process_time() - start) / len(graphs)
    for number, (graph, layers) in enumerate(zip(graphs, splits)):
        sizes = {layer: sum(graph[path].nar_size for path in layer) for layer in layers}
        if number:
            everything += sum(sizes.values())
            push += sum(size for layer, size in sizes.items() if layer not in pushed)
            pull += sum(size for layer, size in sizes.items() if layer not in last)
            ideal += sum(info.nar_size for path, info in graph.items() if path not in paths)
        pushed.update(sizes)
        last, paths, used = set(sizes), set(graph), max(used, len(layers))
    return {
        "push": push / everything,
        "pull": pull / everything,
        "ideal": ideal / everything,
        "to_ideal": push / ideal,
        "used": used,
        "seconds": seconds,
    }


def _print(max_layers: int, strategy: str, row: dict[str, Any]) -> None:
    print(
        f"{max_layers:>6} {strategy:14}{row['scenario']:10}{row['push']:>8.4f}{row['pull']:>8.4f}"
        f"{row['ideal']:>8.4f}{row['to_ideal']:>9.3f}{row['used']:>6.0f}{row['seconds']:>9.3f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
