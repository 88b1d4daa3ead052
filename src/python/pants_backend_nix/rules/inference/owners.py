"""Files of the repository → the targets that have them."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Iterable, Optional

from pants.base.glob_match_error_behavior import GlobMatchErrorBehavior
from pants.base.specs import DirGlobSpec, RawSpecsWithoutFileOwners, RecursiveGlobSpec
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

from pants_backend_nix.engine import (
    addresses_matching,
    concurrently,
    implicitly,
    rule,
    source_paths_of,
    targets_of,
)
from pants_backend_nix.rules.inference.references import PathReference, files_of
from pants_backend_nix.targets.package import NixPackageSourceField, NixSourceField

#: Which of several owners is taken: targets that say that a file is one of Nix; others with files; and last those
#: that are something else than their files, such as `docker_image` and `nix_package`.
_OF_NIX, _WITH_FILES, _OF_A_RECIPE = range(3)


@dataclass(frozen=True)
class FileOwnersRequest:
    """:param directory: the targets of its BUILD files are looked at.
    :param below: those of all directories below it, too.
    """

    directory: str
    below: bool = False


@dataclass(frozen=True)
class FileOwners:
    """Who owns what, of some targets.

    :param by_path: of each file, from the root of the repository, the first kind of target that owns it, and the
        targets of that kind, sorted.
    :param paths: of files that targets own, sorted.
    """

    by_path: FrozenDict[str, tuple[int, tuple[Address, ...]]]
    paths: tuple[str, ...]

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
            FrozenDict({path: (found[path][0], tuple(sorted(found[path][1]))) for path in paths}),
            paths,
        )

    def of(self, path: str) -> tuple[Address, ...]:
        return self.by_path[path][1] if path in self.by_path else ()

    def is_recipe(self, path: str) -> bool:
        """Whether its owners are something else than this file. As parts of a directory such files do not count."""
        return self.by_path[path][0] == _OF_A_RECIPE


def _kind(target: Target) -> int:
    if target.has_field(NixSourceField):
        return _OF_NIX
    if target.has_field(NixPackageSourceField) or target.has_field(OutputPathField):
        return _OF_A_RECIPE
    return _WITH_FILES


def _single_file(field: SourcesField) -> Optional[str]:
    return field.file_path if isinstance(field, OptionalSingleSourceField) else None


@rule(desc="Map files to the targets that own them")
async def map_file_owners(request: FileOwnersRequest) -> FileOwners:
    """Once for all Nix files that refer to the directory: what each target has is said by its fields, and few
    have to look at the disk.

    Only BUILD files are read that can say who owns a file: what is wrong in others concerns nobody here.
    """
    specs = RawSpecsWithoutFileOwners(
        description_of_origin="files that Nix files refer to",
        dir_globs=() if request.below else (DirGlobSpec(request.directory),),
        recursive_globs=(RecursiveGlobSpec(request.directory),) if request.below else (),
        unmatched_glob_behavior=GlobMatchErrorBehavior.ignore,
    )
    found = await targets_of(await addresses_matching(specs))
    targets = [target for target in found if target.has_field(SourcesField)]
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


def _requests(reference: PathReference) -> tuple[FileOwnersRequest, ...]:
    """Returns which BUILD files can say who owns the files of a reference: those of the directory and above, and
    below if all files there are meant."""
    place = reference.path
    below = not reference.imported
    if reference.suffix is not None:
        place, below = posixpath.dirname(reference.path), True
    above = [FileOwnersRequest(place, below)]
    while place:
        place = posixpath.dirname(place)
        above.append(FileOwnersRequest(place))
    return tuple(above)


async def owners_of(references: Iterable[PathReference]) -> tuple[FileOwners, ...]:
    """Returns for each reference who owns the files that it stands for."""
    wanted = [(reference, _requests(reference)) for reference in references]
    requests = tuple(dict.fromkeys(request for _, some in wanted for request in some))
    maps = await concurrently(
        map_file_owners(request, **implicitly()) for request in requests
    )
    known = dict(zip(requests, maps))
    return tuple(
        FileOwners.create(
            (file, one.by_path[file][0], address)
            for one in (known[request] for request in some)
            for file in files_of(reference, one.paths)
            for address in one.by_path[file][1]
        )
        for reference, some in wanted
    )


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
