"""Nix sources → derivation: what a `nix_package` is, before anything is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nixoci.errors import InvalidInputError
from nixoci.json_output import canonical_json
from nixoci.store.evaluate import EXECUTABLES, Derivation
from nixoci.store.path import StorePath
from pants.core.util_rules.source_files import SourceFilesRequest
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest, FileContent, FileEntry
from pants.engine.rules import collect_rules
from pants.engine.target import SourcesField, TransitiveTargetsRequest

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    create,
    entries,
    implicitly,
    merge,
    prefix,
    rule,
    source_files_of,
    targets_of,
    transitive_targets_of,
)
from pants_backend_nix.errors import NixImageError, explain_package_error
from pants_backend_nix.rules.core.run import CoreRun, run_core
from pants_backend_nix.subsystem import NixSubsystem
from pants_backend_nix.targets.reproducible_field import NixReproducibleField
from pants_backend_nix.targets.target_types import (
    NixAttrField,
    NixOutputsField,
    NixPackageSourceField,
    NixStorePathField,
    NixSystemField,
)

#: The directory of the sources in a sandbox; Nix copies a source tree under its directory's name, so
#: this name must not vary.
SOURCE_ROOT = "source"


#: What the names of files end in that say how something is built, and are not what is built.
_NIX_FILES = (".nix", "flake.lock")


@dataclass(frozen=True)
class Evaluation:
    """How a derivation came about, to do it again where it is not in the store.

    :param sources: the visible files, below `SOURCE_ROOT`, and beside that the list of those that
        are executable.
    :param source: the Nix file, relative to the root of the repository.
    :param features: experimental features of Nix that are on: of all that may differ between two
        machines' Nix, they change what expressions mean.
    """

    sources: Digest
    source: str
    attr: str
    system: str
    features: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Options of `nixoci evaluate` and `nixoci realise`."""
        return (
            f"--root={SOURCE_ROOT}",
            f"--source={self.source}",
            f"--attr={self.attr}",
            f"--system={self.system}",
            *(f"--experimental-feature={feature}" for feature in self.features),
        )


@dataclass(frozen=True)
class NixPackage:
    """An evaluated `nix_package`.

    :param outputs: names of the outputs that were asked for; the first one is the package's path.
    :param evaluation: None for a package that is given as a store path.
    :param reproducible: whether building it again gives the same bytes.
    :param first_party: whether files of the repository are built into it that are no Nix files.
    :param environment: of the target.
    """

    address: Address
    derivation: Derivation
    outputs: tuple[str, ...]
    evaluation: Optional[Evaluation]
    reproducible: bool = True
    first_party: bool = False
    environment: EnvironmentNameRequest = THIS_MACHINE

    def path(self, output: str = "") -> StorePath:
        """:raises KeyError: there is no such output."""
        return dict(self.derivation.outputs)[output or self.outputs[0]]

    @property
    def paths(self) -> tuple[StorePath, ...]:
        return tuple(self.path(output) for output in self.outputs)


@dataclass(frozen=True)
class NixPackageRequest:
    """:param origin: the field and target that name the package, for an error."""

    address: Address
    origin: str


async def _visible_tree(sources: Digest) -> Digest:
    """Returns what evaluation gets. Pants gives processes large files as hard links, all of which
    are executable; Nix has to see the files as they are in the repository."""
    executables = [
        entry.path
        for entry in await entries(sources)
        if isinstance(entry, FileEntry) and entry.is_executable
    ]
    listing = canonical_json("executables", {"executables": sorted(executables)})
    return await merge(
        (
            await prefix(sources, SOURCE_ROOT),
            await create([FileContent(SOURCE_ROOT + EXECUTABLES, listing)]),
        )
    )


@rule(desc="Evaluate Nix package")
async def evaluate_package(request: NixPackageRequest, nix: NixSubsystem) -> NixPackage:
    address = request.address
    target = (await targets_of(Addresses([address]))).expect_single()
    if not target.has_field(NixPackageSourceField):
        raise NixImageError(
            f"{request.origin} names {address}, which is a `{target.alias}`. Name a `nix_package`."
        )
    source = target[NixPackageSourceField]
    store_path = target[NixStorePathField].value
    if (source.value is None) == (store_path is None):
        raise NixImageError(
            f"{address} needs either `source` (a Nix file, with `attr`) or `store_path`"
            + (", not both." if store_path else ".")
        )
    reproducible = bool(target[NixReproducibleField].value)
    environment = EnvironmentNameRequest.from_target(target)
    if store_path is not None:
        if target[NixOutputsField].value:
            raise NixImageError(f"{address}: `outputs` goes with `source`, not with `store_path`.")
        derivation = _from_store_path(address, store_path)
        return NixPackage(address, derivation, ("out",), None, reproducible, environment=environment)

    transitive = await transitive_targets_of(TransitiveTargetsRequest([address]))
    files = await source_files_of(
        SourceFilesRequest(
            t[SourcesField] for t in transitive.closure if t.has_field(SourcesField)
        )
    )
    evaluation = Evaluation(
        await _visible_tree(files.snapshot.digest),
        source.file_path or "",
        target[NixAttrField].value or "",
        target[NixSystemField].value or nix.default_system,
        tuple(sorted(set(nix.extra_experimental_features))),
    )
    result = await run_core(
        CoreRun(
            ("evaluate", *evaluation.arguments, "--output=derivation.json"),
            description=f"Evaluate {address}",
            input_digest=evaluation.sources,
            output="derivation.json",
            environment=environment,
        ),
        **implicitly(),
    )
    if result.output is None:
        raise explain_package_error(
            result.error, result.stderr, address, evaluation.source, evaluation.attr
        )
    derivation = Derivation.from_json(result.output)
    outputs = target[NixOutputsField].value or (derivation.default_output,)
    known = dict(derivation.outputs)
    for output in outputs:
        if output not in known:
            raise NixImageError(
                f"{address}: the field `outputs` names {output!r}, but the derivation's outputs are "
                f"{', '.join(known)}."
            )
    first_party = not all(file.endswith(_NIX_FILES) for file in files.snapshot.files)
    return NixPackage(
        address, derivation, tuple(outputs), evaluation, reproducible, first_party, environment
    )


def _from_store_path(address: Address, store_path: str) -> Derivation:
    try:
        path = StorePath.parse(store_path)
    except InvalidInputError as error:
        raise NixImageError(f"{address}: the field `store_path` is not a store path. {error}")
    return Derivation(None, (("out", path),), "out")


def rules():
    return collect_rules()
