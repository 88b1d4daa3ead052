"""`{name}` in the strings of an image is a dependency, also where no other field names the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping

from pants.base.glob_match_error_behavior import GlobMatchErrorBehavior
from pants.base.specs import DirGlobSpec, RawSpecsWithoutFileOwners
from pants.engine.addresses import Address, Addresses
from pants.engine.rules import collect_rules
from pants.engine.target import (
    DependenciesRequest,
    FieldSet,
    InferDependenciesRequest,
    InferredDependencies,
    Target,
)
from pants.engine.unions import UnionRule

from pants_backend_nix.engine import (
    addresses_matching,
    explicit_dependencies_of,
    rule,
    targets_of,
)
from pants_backend_nix.targets.addresses import possible_addresses
from pants_backend_nix.targets.fields.closures import (
    NixCopyToRootField,
    NixIgnoreField,
    NixLayersField,
    NixPackagesField,
)
from pants_backend_nix.targets.fields.config import (
    NixAnnotationsField,
    NixCmdField,
    NixEntrypointField,
    NixEnvField,
    NixHealthcheckField,
    NixLabelsField,
    NixWorkingDirField,
    healthcheck_of,
)
from pants_backend_nix.targets.image import NixImageDependenciesField
from pants_backend_nix.targets.interpolation import names_in, names_of
from pants_backend_nix.targets.package import NixPackageSourceField


@dataclass(frozen=True)
class NamedPackagesFieldSet(FieldSet):
    """The fields of an image in which packages are named."""

    required_fields = (NixImageDependenciesField,)

    dependencies: NixImageDependenciesField
    entrypoint: NixEntrypointField
    cmd: NixCmdField
    env: NixEnvField
    working_dir: NixWorkingDirField
    labels: NixLabelsField
    annotations: NixAnnotationsField
    healthcheck: NixHealthcheckField


class InferNamedPackages(InferDependenciesRequest):
    infer_from = NamedPackagesFieldSet


def _strings(fields: NamedPackagesFieldSet) -> Iterator[str]:
    """Yields the strings that can have placeholders."""
    yield from fields.entrypoint.value or ()
    yield from fields.cmd.value or ()
    yield fields.working_dir.value or ""
    for pairs in (fields.env, fields.labels, fields.annotations):
        yield from (pairs.value or {}).values()
    if fields.healthcheck.value:
        yield from _words_of_healthcheck(fields.healthcheck.value)


def _words_of_healthcheck(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the words of the command; of one for a shell that is one text."""
    words: list[str] = []

    def collect(word: str) -> str:
        words.append(word)
        return word

    healthcheck_of(value, collect)
    return tuple(words)


async def _known_names(target: Target) -> frozenset[str]:
    """Returns the names of packages that other fields name, here and in the layers below."""
    known: set[str] = set()
    seen: set[Address] = set()
    waiting = [target]
    while waiting:
        one = waiting.pop()
        seen.add(one.address)
        for field_type in (NixPackagesField, NixCopyToRootField, NixIgnoreField):
            values = one.get(field_type).value or ()
            for address in await possible_addresses(one, field_type.alias, values):
                known.update(names_of(address))
        layers = one.get(NixLayersField)
        below = await possible_addresses(one, layers.alias, layers.value or ())
        waiting.extend(
            layer for layer in await targets_of(below) if layer.address not in seen
        )
    return frozenset(known)


def _as_written(name: str, directory: str, packages: Iterable[Address]) -> str:
    """Returns the address of the package that a placeholder stands for, as one writes it in a BUILD file; empty
    if there is none.

    :param directory: of the target with the placeholder: a name alone is one of a package beside it.
    :param packages: all there are, without parameters.
    """
    base = name.partition("@")[0]
    for address in packages:
        if ":" in base and address.spec == base:
            return name
        if ":" not in base and (address.spec_path, address.target_name) == (directory, base):
            return f":{name}"
    return ""


def _directory(name: str) -> str:
    """Returns the directory in a placeholder with an address."""
    return name.partition("@")[0].partition(":")[0].lstrip("/")


@rule(desc="Infer dependencies on Nix packages that are named in strings")
async def infer_named_packages(request: InferNamedPackages) -> InferredDependencies:
    names = {name for text in _strings(request.field_set) for name in names_in(text)}
    if not names:
        return InferredDependencies(())
    (target,) = await targets_of(Addresses([request.field_set.address]))
    names -= await _known_names(target)
    if names:
        explicit = await explicit_dependencies_of(
            DependenciesRequest(request.field_set.dependencies)
        )
        names -= {name for address in explicit.includes for name in names_of(address)}
    if not names:
        return InferredDependencies(())
    directories = {target.address.spec_path, *(_directory(name) for name in names if ":" in name)}
    specs = RawSpecsWithoutFileOwners(
        description_of_origin=f"placeholders of {target.address}",
        dir_globs=tuple(DirGlobSpec(directory) for directory in sorted(directories)),
        unmatched_glob_behavior=GlobMatchErrorBehavior.ignore,
    )
    packages = sorted(
        {
            one.address.maybe_convert_to_target_generator()
            for one in await targets_of(await addresses_matching(specs))
            if one.has_field(NixPackageSourceField)
        }
    )
    written = [
        found
        for name in sorted(names)
        for found in [_as_written(name, target.address.spec_path, packages)]
        if found
    ]
    return InferredDependencies(
        await possible_addresses(target, NixImageDependenciesField.alias, written)
    )


def rules():
    return (*collect_rules(), UnionRule(InferDependenciesRequest, InferNamedPackages))
