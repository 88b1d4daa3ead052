"""Nix files of targets → the targets that they depend on.

Each file is looked at for itself, so what it imports brings its own dependencies.
"""

from __future__ import annotations

import logging
import posixpath
from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

from nixoci.store.locks.names import FLAKE_LOCK
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import PathGlobs
from pants.engine.rules import collect_rules
from pants.engine.target import (
    Dependencies,
    DependenciesRequest,
    ExplicitlyProvidedDependencies,
    FieldSet,
    InferDependenciesRequest,
    InferredDependencies,
)
from pants.engine.unions import UnionRule
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import (
    entries,
    explicit_dependencies_of,
    files_matching,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.infer import NO_INFERENCE, NixInferSubsystem, UnownedPathBehavior
from pants_backend_nix.rules.inference.nix_file import parsed_file
from pants_backend_nix.rules.inference.owners import FileOwners, one_of_variants, owners_of
from pants_backend_nix.rules.inference.references import PathReference
from pants_backend_nix.targets.package import (
    NixPackageDependenciesField,
    NixPackageSourceField,
    NixSourceDependenciesField,
    NixSourceField,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NixSourceInferenceFieldSet(FieldSet):
    required_fields = (NixSourceField, NixSourceDependenciesField)

    source: NixSourceField
    dependencies: NixSourceDependenciesField


class InferNixSourceDependencies(InferDependenciesRequest):
    infer_from = NixSourceInferenceFieldSet


@dataclass(frozen=True)
class NixPackageInferenceFieldSet(FieldSet):
    required_fields = (NixPackageSourceField, NixPackageDependenciesField)

    source: NixPackageSourceField
    dependencies: NixPackageDependenciesField


class InferNixPackageDependencies(InferDependenciesRequest):
    infer_from = NixPackageInferenceFieldSet


async def _inferred(
    path: str,
    dependencies: Dependencies,
    behavior: UnownedPathBehavior,
    optional: Sequence[str] = (),
) -> frozenset[Address]:
    """Returns what a target depends on by its Nix file.

    :param optional: paths that need no owner.
    :param dependencies: the field of the target.
    :raises NixImageError: no target owns a path, and `behavior` says that this is an error.
    """
    parsed = await parsed_file(path)
    if not parsed.references:
        return frozenset()
    owners_of_each = await owners_of(parsed.references)
    explicit = await explicit_dependencies_of(DependenciesRequest(dependencies))
    address = dependencies.address
    found: set[Address] = set()
    unowned: list[PathReference] = []
    for reference, owners in zip(parsed.references, owners_of_each):
        found.update(_owners_of(reference, path, owners, address, explicit))
        is_required = reference.required and reference.path not in optional
        if not owners.paths and is_required and reference.suffix is None:
            unowned.append(reference)
    _report_unowned(unowned, path, address, behavior)
    return frozenset(_without(found, explicit) - {address})


def _without(
    found: Iterable[Address], explicit: ExplicitlyProvidedDependencies
) -> frozenset[Address]:
    """Returns addresses without those that `!` takes out, by themselves or by the target that generates them."""
    return frozenset(
        one
        for one in found
        if one not in explicit.ignores
        and one.maybe_convert_to_target_generator() not in explicit.ignores
    )


def _owners_of(
    reference: PathReference,
    own: str,
    owners: FileOwners,
    address: Address,
    explicit: ExplicitlyProvidedDependencies,
) -> Iterable[Address]:
    """Yields who owns the files that a path stands for.

    :param own: the file that is read itself. It is there already.
    """
    ambiguous: Optional[tuple[str, tuple[Address, ...]]] = None
    is_file = owners.paths == (reference.path,)
    for file in owners.paths:
        if file == own or (owners.is_recipe(file) and not is_file and not reference.imported):
            continue
        candidates = one_of_variants(owners.of(file), address)
        if len(candidates) == 1:
            yield candidates[0]
            continue
        chosen = explicit.disambiguated(candidates)
        if chosen is not None:
            yield chosen
        elif ambiguous is None and not explicit.any_are_covered_by_includes(candidates):
            # One file says it for all of a directory.
            ambiguous = (file, candidates)
    if ambiguous is not None:
        file, candidates = ambiguous
        explicit.maybe_warn_of_ambiguous_dependency_inference(
            candidates,
            address,
            import_reference="file",
            context=f"The target {address} refers to `{file}` ({own}, line {reference.line})",
        )


def _report_unowned(
    unowned: Sequence[PathReference], path: str, address: Address, behavior: UnownedPathBehavior
) -> None:
    if not unowned or behavior is UnownedPathBehavior.DoNothing:
        return
    message = (
        f"Pants cannot infer owners for the following paths in {path}, a file of the target {address}:\n\n"
        + bullet_list(f"{reference} (line {reference.line})" for reference in unowned)
        + "\n\nEvaluation sees only files of targets: add a target with these files (`nix_sources`, `files`, …). If "
        f"a path is not meant to be there, put `# {NO_INFERENCE}` on its line."
    )
    if behavior is UnownedPathBehavior.RaiseError:
        raise NixImageError(message)
    logger.warning(message)


@rule(desc="Infer dependencies of Nix file")
async def infer_source_dependencies(
    request: InferNixSourceDependencies, infer: NixInferSubsystem
) -> InferredDependencies:
    path = request.field_set.source.file_path
    if not infer.paths or not path.endswith(".nix"):
        return InferredDependencies(())
    found = await _inferred(
        path,
        request.field_set.dependencies,
        infer.unowned_dependency_behavior,
        # A flake that is an input of another one has its own inputs in the lock file of that.
        (posixpath.join(posixpath.dirname(path), FLAKE_LOCK),),
    )
    return InferredDependencies(found)


@rule(desc="Infer dependencies of Nix package")
async def infer_package_dependencies(
    request: InferNixPackageDependencies, infer: NixInferSubsystem
) -> InferredDependencies:
    """What a `nix_source` of the same file says in `dependencies` holds for its packages, too."""
    field_set = request.field_set
    path = field_set.source.file_path
    if not infer.paths or path is None:
        return InferredDependencies(())
    # Without a lock file, the evaluation says what makes one.
    lock = posixpath.join(posixpath.dirname(path), FLAKE_LOCK)
    is_locked = bool(await entries(await files_matching(PathGlobs([lock]))))
    found = await _inferred(
        path,
        field_set.dependencies,
        infer.unowned_dependency_behavior,
        () if is_locked else (lock,),
    )
    (owners,) = await owners_of((PathReference(path, imported=True),))
    more: list[Address] = []
    for target in await targets_of(Addresses(owners.of(path))):
        if target.has_field(NixSourceField) and target.get(Dependencies).value:
            said = await explicit_dependencies_of(DependenciesRequest(target.get(Dependencies)))
            found = _without(found, said)
            more.append(target.address)
    return InferredDependencies((*found, *more))


def rules():
    return (
        *collect_rules(),
        UnionRule(InferDependenciesRequest, InferNixSourceDependencies),
        UnionRule(InferDependenciesRequest, InferNixPackageDependencies),
    )
