"""A machine with the monorepo of `pex_monorepo`, where pantsd runs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any, Callable, Iterator

from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.pex_monorepo import write_pex_monorepo


@dataclasses.dataclass(frozen=True)
class Clone:
    """A machine with the monorepo, where pantsd runs.

    :param pants: runs Pants there.
    """

    machine: Machine
    pants: Callable[..., PantsRun]

    def descriptor(self, name: str) -> dict[str, Any]:
        return self.machine.monorepo.descriptor(f"app/image-{name}.image.json")


@contextlib.contextmanager
def pex_clone(directory: Path, nix: Nix, wheels: Path, *options: str) -> Iterator[Clone]:
    """Yields a machine; its pantsd ends with the `with` block.

    :param wheels: gets what is in the place of a package index.
    :param options: of all commands.
    """
    machine = Machine.create(directory, nix, "here", *options)
    more = write_pex_monorepo(machine.monorepo, wheels)
    with machine.daemon() as pants:
        yield Clone(machine, functools.partial(pants, *more))
