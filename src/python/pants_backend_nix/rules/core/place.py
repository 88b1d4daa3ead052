"""Environment of a target → where its processes run: on this machine or on others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from pants.engine.addresses import Address
from pants.engine.environment import EnvironmentName
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    environment_named,
    environment_target,
    execution_in,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.fields.environment import HasNixField


@dataclass(frozen=True)
class PlaceRequest:
    """Asks where a process runs.

    :param environment: that its target asks for.
    :param needs_nix: it reads the Nix store, or has Nix evaluate or build something.
    """

    environment: EnvironmentNameRequest = THIS_MACHINE
    needs_nix: bool = True


@dataclass(frozen=True)
class Place:
    """:param environment: for the engine.
    :param elsewhere: who runs it if that is not this machine: words for an error.
    :param target: that defines the environment elsewhere, if one does.
    """

    environment: EnvironmentName
    elsewhere: str = ""
    target: Optional[Address] = None


async def _on_this_machine(environment: EnvironmentName) -> bool:
    execution = await execution_in(environment)
    # A container has its own file system, too.
    return not execution.remote_execution and execution.docker_image is None


@rule
async def find_place(request: PlaceRequest) -> Place:
    environment = await environment_named(request.environment)
    if await _on_this_machine(environment):
        return Place(environment)
    target = await environment_target(environment)
    has_nix = target.val is not None and bool(target.val.get(HasNixField).value)
    if has_nix or not request.needs_nix:
        if target.val is None:
            return Place(environment, "a worker")
        where = f"a worker of the environment `{environment.val}`"
        return Place(environment, where, target.val.address)
    environment = await environment_named(THIS_MACHINE)
    if not await _on_this_machine(environment):
        raise NixImageError(
            "Nix is needed, and all processes run on remote workers: with `--remote-execution`, Pants runs "
            "nothing on this machine unless `[environments-preview].names` has environments. Define a "
            "`remote_environment` target there and name it in the field `environment` of the targets whose "
            "processes are meant to run remotely. If its workers have Nix, set its field `has_nix`."
        )
    return Place(environment)


def rules():
    return collect_rules()
