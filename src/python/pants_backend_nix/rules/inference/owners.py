"""Files of the repository → the targets that have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional

from pants.core.goals.package import OutputPathField
from pants.engine.addresses import Address
from pants.engine.rules import collect_rules
from pants.engine.target import (
    MultipleSourcesField,
    OptionalSingleSourceField,
    SourcesField,
    SourcesPathsRequest,
    Target,
)
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import all_generated_targets, concurrently, rule, source_paths_of
from pants_backend_nix.targets.package import NixPackageSourceField, NixSourceField

#: Which of several owners is taken: targets that say that a file is one of Nix; others with files; and last those
#: that are something else than their files, such as `docker_image` and `nix_package`.
_OF_NIX, _WITH_FILES, _OF_A_RECIPE = range(3)


@dataclass(frozen=True)
class FileOwners:
    """Who owns what.

    :param by_path: of each file, from the root of the repository, the targets of the first kind that owns it,
        sorted.
    :param paths: of files that targets own, sorted.
    :param recipes: those whose owners are something else than these files. As parts of a directory they do
        not count.
    """

    by_path: FrozenDict[str, tuple[Address, ...]]
    paths: tuple[str, ...]
    recipes: frozenset[str]

    @classmethod
    def create(cls, owned: Iterable[tuple[str, int, Address]]) -> FileOwners:
        """:param owned: path, kind of the owner, and its address."""
        found: dict[str, tuple[int, set[Address]]] = {}
        for path, kind, address in owned:
            known = found.get(path)
            if known is None or kind < known[0]:
                found[path] = (kind, {address})
            elif kind == known[0]:
                known[1].add(address)
        paths = tuple(sorted(found))
        return cls(
            FrozenDict({path: tuple(sorted(found[path][1])) for path in paths}),
            paths,
            frozenset(path for path in paths if found[path][0] == _OF_A_RECIPE),
        )


def _kind(target: Target) -> int:
    if target.has_field(NixSourceField):
        return _OF_NIX
    if target.has_field(NixPackageSourceField) or target.has_field(OutputPathField):
        return _OF_A_RECIPE
    return _WITH_FILES


def _single_file(field: SourcesField) -> Optional[str]:
    return field.file_path if isinstance(field, OptionalSingleSourceField) else None


@rule(desc="Map files to the targets that own them")
async def map_file_owners() -> FileOwners:
    """Once for all Nix files: what each target has is said by its fields, and few have to look at the disk."""
    targets = [target for target in await all_generated_targets() if target.has_field(SourcesField)]
    owned = [
        (path, _kind(target), target.address)
        for target in targets
        for path in [_single_file(target[SourcesField])]
        if path is not None
    ]
    several = [
        target
        for target in targets
        if isinstance(target[SourcesField], MultipleSourcesField) and target[SourcesField].globs
    ]
    listings = await concurrently(
        source_paths_of(SourcesPathsRequest(target[SourcesField])) for target in several
    )
    for target, listing in zip(several, listings):
        owned.extend((path, _kind(target), target.address) for path in listing.files)
    return FileOwners.create(owned)


def one_of_variants(addresses: Iterable[Address], user: Address) -> tuple[Address, ...]:
    """Returns addresses with one for each target that is parametrized: that with the parameters of `user`, else
    the first."""
    found: dict[tuple[str, ...], Address] = {}
    for address in sorted(addresses):
        key = (
            address.spec_path,
            address.target_name,
            address.generated_name or "",
            address.filename if address.is_file_target else "",
        )
        known = found.setdefault(key, address)
        if address.parameters == user.parameters and known.parameters != user.parameters:
            found[key] = address
    return tuple(sorted(found.values()))


def rules():
    return collect_rules()
