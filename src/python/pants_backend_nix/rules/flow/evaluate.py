"""Nix sources → derivation: what a `nix_package` is, before anything is built."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterable

from nixoci.errors import InvalidInputError
from nixoci.json_output import canonical_json
from nixoci.store.evaluate import EXECUTABLES, Derivation
from nixoci.store.locks.names import FLAKE
from nixoci.store.path import StorePath
from pants.core.target_types import FileSourceField, ResourceSourceField
from pants.core.util_rules.source_files import SourceFiles, SourceFilesRequest
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest, FileContent, FileEntry
from pants.engine.rules import collect_rules
from pants.engine.target import SourcesField, TransitiveTargetsRequest

from pants_backend_nix.engine import (
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
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.core.answers import KeepRequest, keep_answers
from pants_backend_nix.rules.flow.closure import unkept_answers
from pants_backend_nix.rules.flow.derivation import DerivationRequest, find_derivation
from pants_backend_nix.rules.inference.flake_settings import (
    FlakeSettingsRequest,
    see_flake_settings,
)
from pants_backend_nix.rules.inference.undeclared import undeclared_hint
from pants_backend_nix.targets.evaluated import SOURCE_ROOT, Evaluation, NixPackage
from pants_backend_nix.targets.fields.reproducible import NixReproducibleField
from pants_backend_nix.targets.package import (
    NixArgumentsField,
    NixAttrField,
    NixImportFromDerivationField,
    NixOutputsField,
    NixPackageSourceField,
    NixStorePathField,
    NixSystemField,
)

#: What the names of files end in that say how something is built, and are not what is built.
_NIX_FILES = (".nix", "flake.lock")


@dataclass(frozen=True)
class NixPackageRequest:
    """:param origin: the field and target that name the package, for an error."""

    address: Address
    origin: str


async def visible_files(addresses: Iterable[Address]) -> SourceFiles:
    """Returns the files of targets and of all that they depend on, at their places in the repository."""
    transitive = await transitive_targets_of(TransitiveTargetsRequest(addresses))
    return await source_files_of(
        SourceFilesRequest(
            (t[SourcesField] for t in transitive.closure if t.has_field(SourcesField)),
            # What can be generated as such files is; all other sources are seen as they are.
            for_sources_types=(FileSourceField, ResourceSourceField, SourcesField),
            enable_codegen=True,
        )
    )


async def visible_tree(sources: Digest) -> Digest:
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


@dataclass(frozen=True)
class NixPackageCheckRequest:
    """Asks whether a `nix_package` can be evaluated."""

    address: Address


@dataclass(frozen=True)
class CheckedPackage:
    """:param error: why it cannot be evaluated; empty if it can."""

    error: str = ""


async def _evaluate(request: NixPackageRequest, nix: NixSubsystem) -> NixPackage:
    """:raises NixImageError: the package is no valid one."""
    address = request.address
    target = (await targets_of(Addresses([address]))).expect_single()
    if not target.has_field(NixPackageSourceField):
        raise NixImageError(
            f"{request.origin} names {address}, which is a `{target.alias}`. Name a `nix_package`; what "
            "Pants builds, and files, go into `contents`."
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
        for field in (NixOutputsField, NixArgumentsField, NixImportFromDerivationField):
            if target[field].value:
                raise NixImageError(
                    f"{address}: `{field.alias}` goes with `source`, not with `store_path`."
                )
        derivation = _from_store_path(address, store_path)
        return NixPackage(address, derivation, ("out",), None, reproducible, environment=environment)

    if target[NixArgumentsField].value and os.path.basename(source.file_path or "") == FLAKE:
        raise NixImageError(
            f"{address}: a flake takes no arguments. Take the field `arguments` away, or let `source` be another "
            "Nix file."
        )
    if os.path.basename(source.file_path or "") == FLAKE:
        await see_flake_settings(
            FlakeSettingsRequest(source.file_path or "", address), **implicitly()
        )
    files = await visible_files([address])
    evaluation = Evaluation(
        await visible_tree(files.snapshot.digest),
        source.file_path or "",
        target[NixAttrField].value or "",
        target[NixSystemField].value or nix.default_system,
        tuple(sorted(set(nix.extra_experimental_features))),
        target[NixArgumentsField].json,
        target[NixImportFromDerivationField].value,
    )
    wanted = tuple(target[NixOutputsField].value or ())
    found = await find_derivation(
        DerivationRequest(evaluation, address, environment, wanted), **implicitly()
    )
    derivation = found.derivation
    if derivation is None:
        hint = await undeclared_hint(
            found.error, address, evaluation.source, files.snapshot.files
        )
        raise explain_package_error(
            found.error, found.stderr, address, evaluation.source, evaluation.attr, hint=hint
        )
    outputs = wanted or (derivation.default_output,)
    known = dict(derivation.outputs)
    for output in outputs:
        if output not in known:
            raise NixImageError(
                f"{address}: the field `outputs` names {output!r}, but the derivation's outputs are "
                f"{', '.join(known)}."
            )
    first_party = not all(file.endswith(_NIX_FILES) for file in files.snapshot.files)
    return NixPackage(
        *(address, derivation, outputs, evaluation, reproducible, first_party, environment),
        is_missing=found.is_missing,
        is_unkept=found.is_unkept,
    )


@rule(desc="Evaluate Nix package")
async def evaluate_package(request: NixPackageRequest, nix: NixSubsystem) -> NixPackage:
    return await _evaluate(request, nix)


@rule(desc="Check Nix package")
async def check_package(request: NixPackageCheckRequest, nix: NixSubsystem) -> CheckedPackage:
    try:
        package = await _evaluate(NixPackageRequest(request.address, "the command line"), nix)
    except NixImageError as error:
        return CheckedPackage(str(error))
    await keep_answers(KeepRequest(unkept_answers([package])), **implicitly())
    return CheckedPackage()


def _from_store_path(address: Address, store_path: str) -> Derivation:
    try:
        path = StorePath.parse(store_path)
    except InvalidInputError as error:
        raise NixImageError(f"{address}: the field `store_path` is not a store path. {error}")
    return Derivation(None, (("out", path),), "out")


def rules():
    return collect_rules()
