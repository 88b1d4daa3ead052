"""What a `nix_package` is once it is evaluated: the value that all rules hand on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from nixoci.store.evaluate import Attribute, Derivation
from nixoci.store.path import StorePath
from pants.engine.addresses import Address
from pants.engine.fs import Digest

from pants_backend_nix.engine import THIS_MACHINE, EnvironmentNameRequest

#: The directory of the sources in a sandbox; Nix copies a source tree under its directory's name, so
#: this name must not vary.
SOURCE_ROOT = "source"


@dataclass(frozen=True)
class Evaluation:
    """How a derivation came about, to do it again where it is not in the store.

    :param sources: the visible files, below `SOURCE_ROOT`, and beside that the list of those that
        are executable.
    :param source: the Nix file, relative to the root of the repository.
    :param system: where it is built; what a cross compiler makes is for another one.
    :param features: experimental features of Nix that are on: of all that may differ between two
        machines' Nix, they change what expressions mean.
    :param arguments: a JSON object, see `nixoci.store.evaluate.evaluate`; empty for none.
    :param import_from_derivation: evaluation may build.
    """

    sources: Digest
    source: str
    attr: str
    system: str
    features: tuple[str, ...] = ()
    arguments: str = ""
    import_from_derivation: bool = False

    def attribute(self, directory: str) -> Attribute:
        """Returns how the core is told of it.

        :param directory: that has the tree `sources`.
        """
        return Attribute(
            f"{directory}/{SOURCE_ROOT}",
            self.source,
            self.attr,
            self.system,
            self.features,
            True,
            self.arguments,
            self.import_from_derivation,
        )

    @property
    def options(self) -> tuple[str, ...]:
        """Options of `nixoci evaluate` and `nixoci realise`."""
        return (
            f"--root={SOURCE_ROOT}",
            "--root-is-copy",
            f"--source={self.source}",
            f"--attr={self.attr}",
            f"--system={self.system}",
            *(f"--experimental-feature={feature}" for feature in self.features),
            *((f"--arguments={self.arguments}",) if self.arguments else ()),
            *(("--import-from-derivation",) if self.import_from_derivation else ()),
        )


@dataclass(frozen=True)
class NixPackage:
    """An evaluated `nix_package`.

    :param outputs: names of the outputs that were asked for; the first one is the package's path.
    :param evaluation: None for a package that is given as a store path.
    :param reproducible: whether building it again gives the same bytes.
    :param first_party: whether files of the repository are built into it that are no Nix files.
    :param environment: of the target.
    :param is_missing: it was evaluated just now, and an output was not valid; a hint.
    :param is_unkept: it was evaluated just now, and no cache has the answer yet.
    """

    address: Address
    derivation: Derivation
    outputs: tuple[str, ...]
    evaluation: Optional[Evaluation]
    reproducible: bool = True
    first_party: bool = False
    environment: EnvironmentNameRequest = THIS_MACHINE
    is_missing: bool = field(default=False, compare=False)
    is_unkept: bool = field(default=False, compare=False)

    @property
    def system(self) -> Optional[str]:
        """For which Nix system the outputs are; None if it is not known, or does not matter."""
        return self.derivation.system

    def path(self, output: str = "") -> StorePath:
        """:raises KeyError: there is no such output."""
        return dict(self.derivation.outputs)[output or self.outputs[0]]

    @property
    def paths(self) -> tuple[StorePath, ...]:
        return tuple(self.path(output) for output in self.outputs)
