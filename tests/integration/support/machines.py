"""Machines for tests of shared caches: clones of one monorepo that have nothing else in common."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Mapping

import nixoci

import pants_backend_nix.register
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix


@dataclass(frozen=True)
class Machine:
    """A clone on a machine of its own, and how Pants is started there.

    :param options: given to every command, before its arguments.
    :param environment: variables that replace those of the test.
    """

    monorepo: Monorepo
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        directory: Path,
        nix: Nix,
        name: str,
        *options: str,
        umask: str = "022",
        environment: Mapping[str, str] = {},
    ) -> Machine:
        """Makes an empty clone with an own home, own caches and an own copy of the plugin.

        :param umask: of Pants and all that it starts.
        """
        plugin = directory / f"{name}-plugin"
        for module in (nixoci, pants_backend_nix.register):
            source = Path(module.__file__ or "").parent
            # Two machines have the same plugin, also while somebody edits this one.
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, plugin / source.name, ignore=ignore)
        monorepo = Monorepo.create(directory, nix, name=name, pythonpath=[plugin])
        masked = ("/bin/sh", "-c", 'umask "$1" && shift && exec "$@"', "sh", umask)
        changed = dataclasses.replace(nix, prefix=(*nix.prefix, *masked))
        return cls(dataclasses.replace(monorepo, nix=changed), options, environment)

    def pants(self, *arguments: str, check: bool = True, daemon: bool | None = None) -> PantsRun:
        """See `Monorepo.pants`."""
        return self.monorepo.pants(
            *self.options,
            *arguments,
            check=check,
            daemon=daemon,
            environment=self.environment,
        )

    def dist(self) -> dict[str, bytes]:
        """Returns the contents of all files in dist/, by their path there."""
        root = self.monorepo.root / "dist"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    @contextlib.contextmanager
    def daemon(self) -> Iterator[Callable[..., PantsRun]]:
        """Yields what runs Pants with its daemon, which ends with the `with` block.

        See `Monorepo.with_daemon`.
        """
        with self.monorepo.with_daemon():
            yield functools.partial(self.pants, daemon=True)
