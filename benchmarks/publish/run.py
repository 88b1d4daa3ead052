"""Measures `./pants publish` of many images that the registry has already.

    python3 benchmarks/publish/run.py [--images N] [--runs N] [--json FILE]

The images have a layer of files each and no Nix package; they are pushed to a docker-registry on this machine, which is
not what is measured. Then these take turns, with pantsd warm, as whole processes:

- `publish` of all images: nothing has to be written;
- `package` of all images: what Pants does in either case;
- as many `skopeo inspect`, one after the other: what asking for each image costs another tool;
- as many HEAD requests, one after the other over one connection: what the registry itself takes.

Medians of wall seconds are printed, and how many requests the registry answered.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

for _directory in ("package", "push"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / _directory))

from docker_registry import DockerRegistry, docker_registry  # noqa: E402
from scratch import Scratch, scratch_monorepo  # noqa: E402

_IMAGE = """\
file(name="file", source="file.txt")
nix_image(
    name="image",
    contents={":file": "/file"},
    repository="bench/@NAME@",
    output_path="@NAME@.json",
)
"""

_ALL = "bench::"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

_PUBLISH = "publish, all there"
_PACKAGE = "package"
_SKOPEO = "skopeo inspect, one by one"
_HEAD = "HEAD, one connection"


class Cases:
    """What is compared: each returns the seconds that it took."""

    def __init__(self, scratch: Scratch, running: DockerRegistry, names: list[str]) -> None:
        self.scratch = scratch
        self.running = running
        self.names = names
        registries = {"bench": {"address": running.host, "default": True, "plain_http": True}}
        self._option = f"--nix-images-registries={registries}"

    def publish(self) -> float:
        return self.scratch.pants(self._option, "publish", _ALL)[0]

    def package(self) -> float:
        return self.scratch.pants(self._option, "package", _ALL)[0]

    def skopeo(self) -> float:
        start = time.perf_counter()
        for name in self.names:
            subprocess.run(
                [
                    *("skopeo", "inspect", "--raw", "--tls-verify=false"),
                    f"docker://{self.running.host}/bench/{name}:latest",
                ],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        return time.perf_counter() - start

    def head(self) -> float:
        start = time.perf_counter()
        connection = http.client.HTTPConnection(self.running.host)
        for name in self.names:
            path = f"/v2/bench/{name}/manifests/latest"
            connection.request("HEAD", path, headers={"Accept": _MANIFEST})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"HEAD {path}: status {answer.status}")
        connection.close()
        return time.perf_counter() - start


def main() -> int:
    arguments = _parse_arguments()
    for program in ("docker-registry", "skopeo"):
        if shutil.which(program) is None:
            print(f"This benchmark runs {program}, which is not on PATH.", file=sys.stderr)
            return 1
    with scratch_monorepo() as scratch:
        with docker_registry(scratch.root, logs_requests=True) as running:
            names = [f"i{number}" for number in range(arguments.images)]
            for name in names:
                scratch.write(f"bench/{name}/BUILD", _IMAGE, NAME=name)
                scratch.write(f"bench/{name}/file.txt", "@NAME@\n", NAME=name)
            report = _measure(Cases(scratch, running, names), arguments.runs)
    report["images"] = arguments.images
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
    parser.add_argument("--images", type=int, default=200, help="number of images (200)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.runs < 1 or arguments.images < 1:
        parser.error("--runs and --images: expected at least 1")
    return arguments


def _measure(cases: Cases, runs: int) -> dict[str, Any]:
    first = cases.publish()
    print(f"first publish, which pushes all: {first:.1f} s", file=sys.stderr)
    rows: dict[str, Callable[[], float]] = {
        _PUBLISH: cases.publish,
        _PACKAGE: cases.package,
        _SKOPEO: cases.skopeo,
        _HEAD: cases.head,
    }
    # The first round is not counted: it warms up.
    seconds: dict[str, list[float]] = {title: [] for title in rows}
    requests: dict[str, list[int]] = {title: [] for title in rows}
    averages = []
    for number in range(runs + 1):
        for title, run in rows.items():
            before = cases.running.requests()
            elapsed = run()
            if number:
                seconds[title].append(elapsed)
                requests[title].append(cases.running.requests() - before)
        averages.append(os.getloadavg())
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "runs": runs,
        "load_averages": averages,
        "first_publish": first,
        "seconds": seconds,
        "requests": requests,
        "medians": {title: statistics.median(times) for title, times in seconds.items()},
    }


def _table(report: dict[str, Any]) -> str:
    loads = [average[0] for average in report["load_averages"]]
    lines = [
        f"{report['images']} images that the registry has; {report['cpus']} processors, medians of "
        f"{report['runs']} runs, load average {min(loads):.1f} to {max(loads):.1f}",
        "",
        f"{'':30}{'seconds':>9}{'ms each':>9}{'ratio':>7}{'requests':>10}",
    ]
    base = report["medians"][_PUBLISH]
    for title, median in report["medians"].items():
        requests = statistics.median(report["requests"][title])
        lines.append(
            f"{title:30}{median:>9.2f}{1000 * median / report['images']:>9.1f}{median / base:>7.2f}"
            f"{requests:>10.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
