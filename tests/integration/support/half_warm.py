"""An image of which caches and stores have a part, for tests of what is done about that."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Iterable, Mapping

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix

_BUILD = """\
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_package(name="config", source="config.nix", dependencies=[":tiny"])
nix_source(name="tiny", source="tiny.nix")
nix_image(
    name="image",
    packages=[":greeting"],
    config=":config",
    nix_database=True,
    max_layers={max_layers},
    layering="popularity",
    output_format="{output_format}",
)
"""

_CONFIG = """\
let inherit (import ./tiny.nix) c; in derivation {
  name = "config";
  system = "x86_64-linux";
  builder = "/bin/sh";
  inherit c;
  args = [ "-e" "-c" ''echo "{\\"Env\\": [\\"C=$c\\"]}" > $out'' ];
}
"""

#: Every step of the image that a cache can have.
STEPS = {
    "Evaluate app:greeting",
    "Evaluate app:config",
    "Query closure of app:greeting",
    "Query closure of app:config",
    "Read the image config",
    "Digest layer of c",
    "Digest layer of greeting",
    "Digest layer of the Nix database",
}


def but_queries(steps: Iterable[str]) -> set[str]:
    """Steps without queries of closures: whoever evaluates or builds at the same time leaves closures as well."""
    return {step for step in steps if not step.startswith("Query closure of")}


def write(
    machine: Machine, *, max_layers: int = 3, comment: str = "", output_format: str = "descriptor"
) -> None:
    """Writes the sources and targets of the image `app:image`.

    :param comment: is added to the Nix file that everything is evaluated from.
    """
    source = materialize_tiny_closure(machine.monorepo.root / "app")
    source.write_text(f"{source.read_text()}{comment}")
    machine.monorepo.write("app/config.nix", _CONFIG)
    machine.monorepo.write(
        "app/BUILD", _BUILD.format(max_layers=max_layers, output_format=output_format)
    )


def steps(run: PantsRun) -> set[str]:
    """The steps that were started; what makes a step possible (finding Nix, building) is none."""
    started = [text for text in run.started if not text.startswith(("Find Nix", "Build "))]
    return {step for step in STEPS if any(text.startswith(step) for text in started)} | {
        text for text in started if not text.startswith(tuple(STEPS))
    }


def fresh(machine: Machine, machine_nix: Nix, directory: Path) -> Machine:
    """The same clone with an empty store, whose directory is `directory`/nix, and an empty cache."""
    monorepo = machine.monorepo
    nix = dataclasses.replace(
        monorepo.nix, prefix=machine_nix.with_fresh_root(directory / "nix").prefix
    )
    return dataclasses.replace(
        machine, monorepo=dataclasses.replace(monorepo, nix=nix, cache=directory / "cache")
    )


def package(machine: Machine, expected: Mapping[str, bytes], *options: str) -> PantsRun:
    """Packages the image into an empty dist/, where nothing but `expected` may be afterwards."""
    shutil.rmtree(machine.monorepo.root / "dist", ignore_errors=True)
    run = machine.pants(*options, "package", "app:image")
    assert machine.dist() == expected
    assert "remote_cache_read_errors" not in run.counters
    return run


def builds(run: PantsRun) -> tuple[str, ...]:
    """Returns the addresses of the packages that were built."""
    return tuple(text.split()[1] for text in run.processes("Build "))
