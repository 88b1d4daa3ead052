"""A scratch monorepo to measure in: a copy of what Pants needs of this one, and generated images.

Pants gets caches of its own there, so each run of the benchmark starts from nothing. What is built
goes to the Nix store that the machine is configured for: the next run finds the runtime in it, while
every changed package is a new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

_REPOSITORY = Path(__file__).resolve().parents[2]
_COPIED = ("pants", "pants.toml", "BUILD", "BUILD_ROOT", "3rdparty", "build-support", "src")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache")

_RUNTIME = """\
# A chain of store paths with more references across it, made by /bin/sh alone. A binary cache is not
# asked, since asking would take longer than the scripts do.
{ system ? builtins.currentSystem }:
let
  count = @PATHS@;
  run = name: references: derivation {
    inherit name references system;
    builder = "/bin/sh";
    args = [ "-euc" ''echo "$name references $references" > "$out"'' ];
    allowSubstitutes = false;
    preferLocalBuild = true;
  };
  name = n: "bench-${toString n}";
  add = paths: n: paths // {
    ${name n} = run (name n) (
      if n == 0 then [ ] else [ paths.${name (n - 1)} paths.${name (n / 2)} ]
    );
  };
  paths = builtins.foldl' add { } (builtins.genList (n: n) count);
in
{
  inherit run;
  runtime = paths.${name (count - 1)};
}
"""

_APP = """\
{ system ? builtins.currentSystem }:
let runtime = import ./runtime.nix { inherit system; };
in { app = runtime.run "bench-app-@WORD@" [ runtime.runtime ]; }
"""

_PACKAGES = """\
nix_source(name="sources", source="runtime.nix")
nix_package(name="runtime_package", source="runtime.nix", attr="runtime")
nix_package(name="app", source="app.nix", attr="app", dependencies=[":sources"])
nix_layer(name="runtime", packages=[":runtime_package"], max_layers=@LAYERS@)
"""

_IMAGE = """\
nix_image(
    name="@NAME@",
    layers=["bench:runtime"],
    packages=["bench:app"],
    entrypoint=["{bench:app}", "@ENTRYPOINT@"],
    output_path="@NAME@.json",
)
"""


@dataclass(frozen=True)
class Scratch:
    """The monorepo. Images are described in `bench/…/BUILD`, their packages in `bench/*.nix`."""

    root: Path

    def write_runtime(self, *, paths: int, layers: int) -> None:
        """Writes the packages and, for `paths` small store paths, one layer target of `layers`."""
        self.write("bench/runtime.nix", _RUNTIME, PATHS=paths)
        self.write("bench/BUILD", _PACKAGES, LAYERS=layers)

    def write_app(self, word: str) -> None:
        """Writes the package on top; another word makes another store path of it."""
        self.write("bench/app.nix", _APP, WORD=word)

    def write_image(self, directory: str, name: str, entrypoint: str) -> None:
        """Writes the only target of a directory: an image of the app and the runtime's layers."""
        self.write(f"{directory}/BUILD", _IMAGE, NAME=name, ENTRYPOINT=entrypoint)

    def entrypoint(self, image: str) -> list[str]:
        """Reads the entrypoint from what `package` wrote for the image of that name."""
        descriptor = json.loads((self.root / "dist" / f"{image}.json").read_text())
        return list(descriptor["config"]["config"]["Entrypoint"])

    def pants(self, *arguments: str) -> tuple[float, str]:
        """Runs the launcher; returns wall seconds of the whole process and what it said."""
        start = time.perf_counter()
        result = subprocess.run(
            ["./pants", *arguments],
            cwd=self.root,
            env=_environment(self.root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        if result.returncode:
            raise RuntimeError(f"`./pants {' '.join(arguments)}` failed:\n{result.stdout}")
        return seconds, result.stdout

    def after_list(self, *arguments: str) -> tuple[float, int, str]:
        """Runs the launcher with the goal `list` before others.

        :returns: wall seconds from the list's first line on, bytes of memory of the largest process, and what was said.
        """
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                ["./pants", *arguments],
                cwd=self.root,
                env=_environment(self.root),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
            assert process.stdout is not None
            process.stdout.readline()
            start = time.perf_counter()
            process.stdout.read()
            _, process.returncode, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            said.seek(0)
            text = said.read()
        if process.returncode:
            raise RuntimeError(f"`./pants {' '.join(arguments)}` failed:\n{text}")
        return seconds, usage.ru_maxrss * 1024, text

    def processes(self, *arguments: str) -> int:
        """Runs Pants and returns how many processes it ran, by its own counter."""
        return self.counted(*arguments)[1]["local_execution_requests"]

    def counted(self, *arguments: str) -> tuple[float, dict[str, int]]:
        """Runs Pants; returns wall seconds, as `pants` does, and all of its counters by name."""
        seconds, text = self.pants("--stats-log", *arguments)
        counters = re.findall(r"^ *(\w+): (\d+)$", text, re.MULTILINE)
        if not counters:
            raise RuntimeError(f"Pants printed no counters:\n{text}")
        return seconds, {name: int(number) for name, number in counters}

    def stop_pantsd(self) -> None:
        """Ends the daemon of this monorepo and waits until it is gone."""
        for file in self.root.glob(".pids/*/pantsd/pid"):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                pid = int(file.read_text())
                os.kill(pid, signal.SIGTERM)
                deadline = time.monotonic() + 15
                while time.monotonic() < deadline:
                    os.kill(pid, 0)
                    time.sleep(0.05)
                os.kill(pid, signal.SIGKILL)

    def write(self, name: str, template: str, **values: object) -> None:
        """Writes a file of the monorepo, with `values` in the places of their names (`@NAME@`)."""
        for key, value in values.items():
            template = template.replace(f"@{key}@", str(value))
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template)


@contextlib.contextmanager
def scratch_monorepo() -> Iterator[Scratch]:
    """Makes the monorepo; at the end its pantsd is stopped and it is removed, also on failure."""
    # A signal becomes an exception, so that nothing is left behind after one.
    signal.signal(signal.SIGTERM, lambda number, _frame: _exit(128 + number))
    root = Path(tempfile.mkdtemp(prefix="nixoci-benchmark-")).resolve()
    scratch = Scratch(root)
    try:
        for name in _COPIED:
            source = _REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=_NOT_COPIED)
            else:
                shutil.copy2(source, root / name)
        yield scratch
    finally:
        scratch.stop_pantsd()
        shutil.rmtree(root)


def _exit(status: int) -> None:
    raise SystemExit(status)


def _environment(root: Path) -> dict[str, str]:
    """Returns this environment without what an enclosing Pants is told, and with own caches."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PANTS_", "_PANTS_"))}
    caches = root / ".pants.d" / "caches"
    environment["PANTS_LOCAL_STORE_DIR"] = str(caches / "store")
    environment["PANTS_NAMED_CACHES_DIR"] = str(caches / "named")
    return environment
