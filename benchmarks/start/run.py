"""Measures how long a Python web service takes from the start of its container to its first answer.

    PYTHONPATH=src/python:. python3 benchmarks/start/run.py [--json FILE] [--runs N]

The service is that of `examples/service`, on the same store paths in each image:

- `zipped`: the PEX file, which unpacks itself;
- `stages`: the PEX file in a virtual environment that the two stages of a Dockerfile make
  (`PEX_TOOLS=1 … venv --scope=deps --compile`, then `--scope=srcs`);
- `split`: what `nix_contents(…, split="dependencies")` lays out;
- `split, no bytecode`: the same, with an interpreter that is told to look for bytecode elsewhere.

Images are in podman's storage before the first start. They take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Sequence

from tests.integration.support import engines
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import machine_nix
from tests.integration.support.pex import pex_options
from tests.integration.support.web_example import answer, running_service, write_service_example
from tests.integration.support.wheels import service_wheels, wheel_options

_IMAGES = """
_common = dict(
    layers=[":runtime"],
    directories=[{"path": "/tmp", "mode": "1777"}],
    env={"LD_LIBRARY_PATH": "{stdcxx}/lib:{glibc}/lib"},
    output_format="oci-layout",
)
_split = [
    nix_contents(":api", to="/app", split="dependencies", interpreter="{python}/bin/python3"),
]

nix_image(
    name="zipped",
    contents={":api": "/app/api.pex"},
    **_common,
    entrypoint=["{python}/bin/python3", "/app/api.pex"],
)
nix_image(
    name="base",
    **_common,
    entrypoint=["{python}/bin/python3"],
)
nix_image(
    name="split",
    contents=_split,
    **_common,
    entrypoint=["/app/pex"],
)
nix_image(
    name="uncompiled",
    contents=_split,
    **_common,
    entrypoint=["/app/bin/python3", "-X", "pycache_prefix=/tmp/none", "-sE", "/app/pex"],
)
"""

_DOCKERFILE = """\
FROM {base} AS dependencies
COPY api.pex /api.pex
ENV PEX_TOOLS=1 PEX_ROOT=/tmp/pex
RUN ["{python}", "/api.pex", "venv", "--scope=deps", "--compile", "/app"]

FROM {base} AS sources
COPY api.pex /api.pex
ENV PEX_TOOLS=1 PEX_ROOT=/tmp/pex
RUN ["{python}", "/api.pex", "venv", "--scope=srcs", "--compile", "/app"]

FROM {base}
COPY --from=dependencies /app /app
COPY --from=sources /app /app
ENTRYPOINT ["/app/pex"]
"""


def _package(directory: Path) -> Monorepo:
    """Packages the images and the PEX file."""
    repository = Monorepo.create(directory, machine_nix())
    sources = write_service_example(repository)
    build = sources / "BUILD"
    # The PEX file has the tools that a Dockerfile uses.
    text = build.read_text().replace('name="api", entry', 'name="api", include_tools=True, entry')
    build.write_text(text + _IMAGES)
    repository.pants(
        *pex_options(),
        *wheel_options(service_wheels()),
        "--tag=[]",
        "--python-enable-resolves",
        "--python-default-resolve=service",
        "--python-resolves={'service': 'examples/service/requirements.lock'}",
        "--python-resolves-generate-lockfiles=False",
        "package",
        *(f"examples/service:{name}" for name in ("api", "base", "zipped", "split", "uncompiled")),
    )
    return repository


def _pull(podman: engines.Podman, layout: Path) -> str:
    """Loads an OCI layout; returns the ID of the image."""
    return podman.run("pull", "--quiet", f"oci:{layout}:latest").stdout.strip()


def _stages(podman: engines.Podman, dist: Path, base: str, python: str, directory: Path) -> str:
    """Builds the image of the Dockerfile; returns its ID."""
    (directory / "Dockerfile").write_text(_DOCKERFILE.format(base=base, python=python))
    (directory / "api.pex").write_bytes((dist / "api.pex").read_bytes())
    built = podman.run("build", "--quiet", "--isolation=chroot", "--network=host", directory)
    return built.stdout.strip().splitlines()[-1]


def _seconds(podman: engines.Podman, image: str, log: Path) -> float:
    started = time.perf_counter()
    with running_service(podman, image, log) as address:
        said = answer(f"{address}/4")
        seconds = time.perf_counter() - started
    assert said.endswith("sum of 0 to 4 is 10.\n"), said
    return seconds


def _size(podman: engines.Podman, image: str) -> int:
    return int(podman.run("image", "inspect", "--format", "{{.Size}}", image).stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time to this file")
    parser.add_argument("--runs", type=int, default=11, help="starts of each image (default: 11)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="start-") as name, engines.podman() as podman:
        directory = Path(name)
        repository = _package(directory / "repository")
        dist = repository.root / "dist" / "examples.service"
        images = {
            title: _pull(podman, dist / image)
            for title, image in (
                ("zipped", "zipped"),
                ("split", "split"),
                ("split, no bytecode", "uncompiled"),
            )
        }
        base = repository.descriptor("examples.service/base.image.json")
        python = base["config"]["config"]["Entrypoint"][0]
        images["stages"] = _stages(podman, dist, _pull(podman, dist / "base"), python, directory)
        times: dict[str, list[float]] = {title: [] for title in images}
        for number in range(options.runs + 1):
            for title, image in images.items():
                seconds = _seconds(podman, image, directory / "log")
                if number:
                    times[title].append(seconds)
        best = statistics.median(times["split"])
        print(f"{'image':20} {'median s':>9} {'min':>6} {'max':>6} {'ratio':>6} {'MB':>6}")
        for title in ("zipped", "stages", "split, no bytecode", "split"):
            found = times[title]
            median = statistics.median(found)
            print(
                f"{title:20} {median:9.2f} {min(found):6.2f} {max(found):6.2f} "
                f"{median / best:6.2f} {_size(podman, images[title]) / 1e6:6.0f}"
            )
        if options.json:
            options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
