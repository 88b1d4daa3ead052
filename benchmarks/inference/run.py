"""Holds what is found in Nix files against what Nix opens when it evaluates them.

    python3 benchmarks/inference/run.py [--root DIRECTORY FILE …] [--json FILE]

Without arguments the files are those of the tests, a case a line: how many files the evaluation opens, how many are
found by looking at Nix files alone, and of these how many are right (precision) and of those how many are found
(recall). With `--root`, each FILE (relative to it) is evaluated as a whole (`nix-instantiate --eval --strict`), as
if targets owned all files below DIRECTORY. The last line has what it costs to read each Nix file there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "src/python"), str(_ROOT)]

from pants_backend_nix.rules.inference.paths import references_of  # noqa: E402

from tests.integration.support.nix_corpus import CASES, write_corpus  # noqa: E402
from tests.integration.support.opened_files import (  # noqa: E402
    evaluation,
    files_below,
    inferred_files,
    opened_files,
)


def measure(root: Path, entry: str) -> dict[str, int]:
    """Returns how many files are opened, found, and both; what is missing is printed."""
    try:
        opened = opened_files(root, evaluation(root, entry), os.environ)
    except subprocess.CalledProcessError:
        print(f"{entry}: Nix cannot evaluate it; what it opened is not known", file=sys.stderr)
        return {"opened": 0, "found": 0, "both": 0}
    found = inferred_files(root, entry)
    for path in sorted(opened - found):
        print(f"{entry}: {path} is opened and was not found", file=sys.stderr)
    return {"opened": len(opened), "found": len(found), "both": len(opened & found)}


def _row(name: str, numbers: dict[str, int]) -> str:
    precision = numbers["both"] / max(numbers["found"], 1)
    recall = numbers["both"] / max(numbers["opened"], 1)
    return f"{name:<34}{numbers['opened']:>8}{numbers['found']:>8}{precision:>11.2f}{recall:>8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = arguments.root or Path(directory)
        if arguments.root is None:
            write_corpus(root)
        entries = arguments.files or [
            f"{name}/{case.entry}" for name, case in CASES.items() if case.entry != "flake.nix"
        ]
        print(f"{'':<34}{'opened':>8}{'found':>8}{'precision':>11}{'recall':>8}")
        results = {}
        for entry in entries:
            results[entry] = measure(root.resolve(), entry)
            print(_row(entry.replace("/default.nix", ""), results[entry]), flush=True)
        total = {key: sum(one[key] for one in results.values()) for key in ("opened", "found", "both")}
        print(_row("all", total))
        texts = {
            path: (root / path).read_bytes() for path in files_below(root) if path.endswith(".nix")
        }
        start = time.perf_counter()
        for path, text in texts.items():
            references_of(text, path)
        seconds = time.perf_counter() - start
        size = sum(map(len, texts.values()))
        print(
            f"\n{len(texts)} files of {size / max(len(texts), 1):.0f} bytes: "
            f"{1000 * seconds / max(len(texts), 1):.2f} ms each, {1e6 * seconds / max(size, 1):.2f} µs a byte"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({**results, "all": total}, indent=1))


if __name__ == "__main__":
    main()
