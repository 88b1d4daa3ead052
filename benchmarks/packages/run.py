"""Measures what many Nix packages cost: `./pants package` of images against Nix itself.

    python3 benchmarks/packages/run.py [--packages N …] [--runs N] [--unreachable] [--json FILE]

For each number of packages a scratch monorepo is generated: trivial derivations in files whose common part
takes half a second to evaluate, as nixpkgs does or longer, and images of them. `nix-build` and
`nix-instantiate` get the same files. Commands run without pantsd, and `./pants list package` is timed from the list's
first line to the end of the process: the start of Pants takes far longer than what is measured, and varies. Medians are
printed, in seconds, with how often Nix was started to evaluate, to build and to query, and with the memory of the
largest process of each `package`. With
`--unreachable` both ask a binary cache whose name is not known, as on a machine without network.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "package"))

from scratch import Scratch, scratch_monorepo

#: Packages, files that they are in, and images.
_SHAPES = {1: (1, 1), 10: (1, 1), 50: (1, 1), 100: (10, 10), 200: (20, 20)}

_FILE = """\
# What all have in common takes half a second: a sum of some million numbers. A binary cache is not asked.
{ system ? builtins.currentSystem }:
let
  common = builtins.foldl' (sum: n: sum + n) 0 (builtins.genList (n: n) @COMMON@);
  run = name: derivation {
    inherit name system common;
    builder = "/bin/sh";
    args = [ "-euc" ''echo "$name @WORD@" > "$out"'' ];
    allowSubstitutes = @SUBSTITUTES@;
    preferLocalBuild = true;
  };
in
{
@ATTRIBUTES@
}
"""

#: A name that no server has (RFC 6761).
_NOWHERE = "https://cache.invalid"

_BUILD, _AGAIN = "all to be built", "all built, caches empty"
_NIX_BUILD, _NIX_INSTANTIATE = "nix-build of all", "nix-instantiate of all"
_OWN = "one package's own file changed"


@dataclass
class Shape:
    """A number of packages, spread over files; each file's packages make the images in turn."""

    scratch: Scratch
    packages: int
    files: int
    images: int
    unreachable: bool = False
    seconds: dict[str, list[float]] = field(default_factory=dict)
    starts: dict[str, dict[str, int]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def write(self) -> None:
        """Writes files that have never been evaluated, with packages that have never been built."""
        shutil.rmtree(self.scratch.root / "bench", ignore_errors=True)
        names = [f"p{number}" for number in range(self.packages)]
        for number in range(self.files):
            some = names[number :: self.files]
            attributes = "\n".join(f'  {name} = run "bench-{name}";' for name in some)
            self.scratch.write(
                f"bench/f{number}.nix",
                _FILE,
                COMMON=5_000_000,
                WORD=uuid.uuid4().hex,
                ATTRIBUTES=attributes,
                SUBSTITUTES="true" if self.unreachable else "false",
            )
        targets = [
            f'nix_package(name="{name}", source="f{number % self.files}.nix", attr="{name}")'
            for number, name in enumerate(names)
        ]
        for number in range(self.images):
            packages = ", ".join(f'":{name}"' for name in names[number :: self.images])
            targets.append(f'nix_image(name="image{number}", packages=[{packages}], max_layers=40)')
        (self.scratch.root / "bench" / "BUILD").write_text("\n".join(targets) + "\n")

    def time(self, title: str, action: Callable[[], object]) -> None:
        """Notes the wall seconds of an action."""
        start = time.perf_counter()
        action()
        self.seconds.setdefault(title, []).append(time.perf_counter() - start)

    def nix(self, *words: str) -> None:
        """Runs a command of Nix on all files."""
        files = [f"bench/f{number}.nix" for number in range(self.files)]
        asked = ("--option", "substituters", _NOWHERE) if self.unreachable else ()
        subprocess.run([*words, *asked, *files], cwd=self.scratch.root, check=True, capture_output=True)

    def package(self, title: str) -> None:
        """Empties Pants' caches, and packages all images."""
        shutil.rmtree(self.scratch.root / ".pants.d", ignore_errors=True)
        self.again(title)

    def again(self, title: str) -> None:
        """Lists and packages all images in one process, and notes the wall seconds after the list."""
        asked = (f"--nix-substituters=['{_NOWHERE}']",) if self.unreachable else ()
        seconds, size, text = self.scratch.after_list("--no-pantsd", *asked, "list", "package", "bench::")
        self.memory[title] = max(size, self.memory.get(title, 0))
        self.seconds.setdefault(title, []).append(seconds)
        self.starts[title] = {
            word: len(re.findall(rf"Starting: {word} ", text))
            for word in ("Evaluate", "Build", "Query")
        }

    def median(self, title: str) -> float:
        return statistics.median(self.seconds[title])


def _measure(shape: Shape, runs: int) -> None:
    for _ in range(runs):
        shape.write()
        shape.scratch.pants("--no-pantsd", "list", "bench::")
        shape.time(_NIX_INSTANTIATE, lambda: shape.nix("nix-instantiate"))
        shape.package(_BUILD)
        shape.package(_AGAIN)
        path = shape.scratch.root / "bench" / "f0.nix"
        path.write_text(path.read_text().replace('run "bench-p0"', f'run "bench-p0-{uuid.uuid4().hex}"'))
        shape.again(_OWN)
        shape.write()
        shape.time(_NIX_BUILD, lambda: shape.nix("nix-build", "--no-out-link"))


def _row(shape: Shape, title: str, peer: str, factor: float) -> str:
    memory = shape.memory[title] // 1_000_000
    less = shape.median(title)
    limit = factor * shape.median(peer) + 0.05 * shape.packages
    starts = shape.starts[title]
    return (
        f"| {shape.packages} in {shape.files} files, {shape.images} images | {title} | {less:.2f} | "
        f"{shape.median(peer):.2f} | {less / shape.median(peer):.1f} | {limit:.2f} | "
        f"{starts['Evaluate']} / {starts['Build']} / {starts['Query']} | {memory} |"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--packages", type=int, nargs="+", default=list(_SHAPES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--unreachable", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    document, rows = {}, []
    with scratch_monorepo() as scratch:
        for packages in options.packages:
            files, images = _SHAPES.get(packages, (1, 1))
            shape = Shape(scratch, packages, files, images, options.unreachable)
            _measure(shape, options.runs)
            rows.append(_row(shape, _BUILD, _NIX_BUILD, 1.3))
            rows.append(_row(shape, _AGAIN, _NIX_INSTANTIATE, 2.0))
            rows.append(_row(shape, _OWN, _NIX_INSTANTIATE, 2.0))
            document[packages] = {"seconds": shape.seconds, "starts": shape.starts}
            print("\n".join(rows[-3:]), file=sys.stderr)
    print("| packages | `package`, less `list` | s | Nix, s | ratio | limit, s | starts: evaluate / build / query | largest process, MB |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"\nLoad of the machine: {os.getloadavg()[0]:.1f}.")
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
