"""How tests of `pants run` choose an engine, and what they find in it afterwards."""

from __future__ import annotations

import os
from typing import Mapping, Union

from tests.integration.support import engines

Engine = Union[engines.Docker, engines.Podman]

#: A shell looks for signals between its commands.
WAITS = "echo ready; while :; do sleep 0.1; done"


def environment_of(engine: Engine) -> Mapping[str, str]:
    """The variables that choose the engine."""
    return {name: v for name, v in engine.environment().items() if v != os.environ.get(name)}


def options_of(engine: Engine, *run_args: str) -> tuple[str, ...]:
    network = ("--network=none", *run_args)
    return (f"--nix-images-engine={engine.name}", f"--nix-images-run-args={' '.join(network)}")


def left_in(engine: Engine) -> tuple[list[str], list[str]]:
    """Containers of the engine, and the names of its images."""
    names = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return engine.run("ps", "--all", "--quiet").stdout.split(), names
