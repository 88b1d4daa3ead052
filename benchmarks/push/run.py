"""Compares `nixoci push` to `skopeo copy` from an OCI layout of the same image, in one run.

    python3 benchmarks/push/run.py [--quick] [--runs N] [--json FILE]

Each push goes into an empty docker-registry of its own, on this machine: first the whole image, then
the same again. The programs are

- `nixoci push`, from the Nix store, as a wheel installs it;
- `skopeo copy --preserve-digests`, from a layout that `nixoci write` made, which is not timed;
- `skopeo copy`, which compresses layers, as it does by default.

skopeo's cache of what registries have is empty each time, as on a fresh CI worker. Whole processes
are timed, with a warm page cache. The programs take turns, so that what else the machine does hits
all alike; medians of wall seconds are printed, how many times as long as `nixoci push` each takes,
and the most memory that it had. Trust a ratio within about a tenth, and only if the load averages,
which are printed too, do not tell of others at work.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from docker_registry import docker_registry

_HERE = Path(__file__).resolve().parent
_SOURCE = _HERE.parents[1] / "src" / "python"
_PROGRAMS = ("docker-registry", "nix-store", "skopeo")
_OURS = "nixoci push"

#: Name, layers, bytes of each.
_IMAGES = (("few big layers", 4, 100_000_000), ("many small layers", 100, 400_000))

_NIX_CONFIGURATION = "experimental-features = nix-command\nbuild-users-group =\nsubstituters =\n"


def main() -> int:
    arguments = _parse_arguments()
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            print(f"This benchmark runs {program}, which is not on PATH.", file=sys.stderr)
            return 1
    report: dict[str, Any] = {
        "cpus": _cpus(),
        "python": sys.version.split()[0],
        "skopeo": _output(["skopeo", "--version"]),
        "registry": _output(["docker-registry", "--version"]),
        "runs": arguments.runs,
        "images": [],
    }
    with tempfile.TemporaryDirectory(prefix="nixoci-benchmark-") as workdir:
        for name, layers, size in _IMAGES:
            size = size // 10 if arguments.quick else size
            directory = Path(workdir, name.replace(" ", "-"))
            bench = Bench(directory, layers, size)
            report["images"].append({"name": name, **_measure(bench, arguments.runs)})
            # The store has no write permission in it.
            subprocess.run(["chmod", "-R", "u+w", directory], check=True)
            shutil.rmtree(directory)
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
    parser.add_argument("--quick", action="store_true", help="layers of a tenth")
    parser.add_argument("--runs", type=int, default=5, help="runs of each program (5)")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs: expected at least 1")
    return arguments


class Bench:
    """An image, in the Nix store and as a layout, and the commands that push it.

    :param size: bytes of each of the `layers`.
    """

    def __init__(self, directory: Path, layers: int, size: int) -> None:
        self.directory = directory
        self.layers = layers
        self.size = layers * size
        directory.mkdir()
        (directory / "nix.conf").write_text(_NIX_CONFIGURATION)
        shutil.copytree(_SOURCE / "nixoci", directory / "site" / "nixoci")
        compileall.compile_dir(directory / "site", quiet=1)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("NIX_", "PYTHON"))},
            "NIX_CONF_DIR": str(directory),
            "NIX_USER_CONF_FILES": "",
            "NIX_REMOTE": f"local?root={directory}/root",
            "PYTHONPATH": str(directory / "site"),
            "DOCKER_CONFIG": str(directory),
            "REGISTRY_AUTH_FILE": str(directory / "auth.json"),
        }
        (directory / "auth.json").write_text("{}")
        make = [sys.executable, str(_HERE / "image.py"), str(directory), str(layers), str(size)]
        subprocess.run(make, env=self.environment, check=True)
        write = ["write", f"{directory}/image.json", "--format=oci-layout"]
        write += [f"--output={directory}/layout", "--reference=image:latest"]
        subprocess.run([*self._nixoci(), *write], env=self.environment, check=True)

    def commands(self) -> dict[str, list[str]]:
        """The programs, by name; `HOST` in a word stands for the registry."""
        copy = ["copy", "--quiet", "--dest-tls-verify=false"]
        names = [f"oci:{self.directory}/layout:latest", "docker://HOST/image:latest"]
        return {
            _OURS: [*self._nixoci(), "push", f"{self.directory}/image.json", "HOST/image:latest"],
            "skopeo copy --preserve-digests": _skopeo([*copy, "--preserve-digests", *names]),
            "skopeo copy": _skopeo([*copy, *names]),
        }

    def run(self, command: Sequence[str], host: str) -> tuple[float, int]:
        """Runs a command; returns wall seconds and the most bytes of memory that it had."""
        words = [word.replace("HOST", host) for word in command]
        with (self.directory / "output").open("w+b") as output, tempfile.TemporaryDirectory(
            dir=self.directory
        ) as data:
            # Where skopeo has its cache, unless root runs it.
            environment = {**self.environment, "XDG_DATA_HOME": data}
            start = time.perf_counter()
            process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = status
            if status:
                output.seek(0)
                raise RuntimeError(f"{' '.join(words)} failed:\n{output.read().decode()}")
        return seconds, usage.ru_maxrss * 1024

    def _nixoci(self) -> list[str]:
        return [sys.executable, "-S", "-m", "nixoci"]


def _skopeo(arguments: Sequence[str]) -> list[str]:
    """Returns the command that runs skopeo without what its cache knows of registries."""
    if os.geteuid():
        return ["skopeo", *arguments]
    # Root's cache is one file of the machine, which must be neither used nor lost.
    Path("/var/lib/containers").mkdir(parents=True, exist_ok=True)
    script = 'mount -t tmpfs none /var/lib/containers && exec skopeo "$@"'
    namespace = ["unshare", "--mount", "--propagation", "private"]
    return [*namespace, "/bin/sh", "-c", script, "sh", *arguments]


def _measure(bench: Bench, runs: int) -> dict[str, Any]:
    commands = bench.commands()
    # The first round is not counted: it warms up.
    _round(bench, commands)
    averages = [os.getloadavg()]
    seconds: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in commands} for kind in ("first", "again")
    }
    memory = dict.fromkeys(commands, 0)
    for number in range(runs):
        names = list(commands)
        # Another first program each time, so that no one always follows the same other.
        turn = names[number % len(names) :] + names[: number % len(names)]
        for name, pushes in _round(bench, {name: commands[name] for name in turn}).items():
            for kind, (elapsed, peak) in pushes.items():
                seconds[kind][name].append(elapsed)
                memory[name] = max(memory[name], peak)
        averages.append(os.getloadavg())
    medians = {
        kind: {name: statistics.median(times) for name, times in by_name.items()}
        for kind, by_name in seconds.items()
    }
    return {
        "layers": bench.layers,
        "size": bench.size,
        "load_averages": averages,
        "seconds": seconds,
        "medians": medians,
        "ratios": {
            kind: {name: median / by_name[_OURS] for name, median in by_name.items()}
            for kind, by_name in medians.items()
        },
        "memory": memory,
    }


def _round(
    bench: Bench, commands: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, tuple[float, int]]]:
    """Lets each program push twice into a registry of its own."""
    results = {}
    for name, command in commands.items():
        with docker_registry(bench.directory) as running:
            host = running.host
            results[name] = {kind: bench.run(command, host) for kind in ("first", "again")}
    return results


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['cpus']} processors, Python {report['python']}, {report['skopeo']}, medians of "
        f"{report['runs']} runs",
        "",
        f"{'':32}{'first push':>11}{'MB/s':>7}{'ratio':>7}{'again':>9}{'ratio':>7}{'MiB':>6}",
    ]
    for image in report["images"]:
        averages = [average[0] for average in image["load_averages"]]
        lines.append(
            f"{image['name']}: {image['layers']} of {image['size'] / image['layers'] / 1e6:.1f} MB; "
            f"load average {min(averages):.1f} to {max(averages):.1f}"
        )
        for name, first in image["medians"]["first"].items():
            again = image["medians"]["again"][name]
            lines.append(
                f"  {name:30}{first:>11.2f}{image['size'] / first / 1e6:>7.0f}"
                f"{image['ratios']['first'][name]:>7.2f}{again:>9.2f}"
                f"{image['ratios']['again'][name]:>7.2f}{image['memory'][name] >> 20:>6}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
