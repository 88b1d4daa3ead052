"""Target → the files that it stands for: packaged, generated, or in the repository."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Iterable, Optional, Union

from pants.core.goals.package import PackageFieldSet
from pants.core.target_types import FileSourceField, ResourceSourceField
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest, Directory, FileDigest, FileEntry, SymlinkEntry
from pants.engine.rules import collect_rules
from pants.engine.target import (
    FieldSetsPerTargetRequest,
    HydrateSourcesRequest,
    SourcesField,
    Target,
)

from pants_backend_nix.engine import (
    concurrently,
    entries,
    hydrated_sources_of,
    merge,
    package_field_sets_of,
    package_of,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.package import NixPackageSourceField

_Entry = Union[FileEntry, SymlinkEntry, Directory]


@dataclass(frozen=True)
class TargetFilesRequest:
    """:param origin: the field and target that name it, for an error."""

    address: Address
    origin: str


@dataclass(frozen=True)
class TargetFile:
    """A file of a target, or a symbolic link with `target`, or an empty directory.

    :param path: relative: where `package` puts it below `dist/`, or its place in the repository.
    """

    path: str
    content: Optional[FileDigest] = None
    executable: bool = False
    target: Optional[str] = None


@dataclass(frozen=True)
class TargetFiles:
    """:param files: sorted by path.
    :param packaged: whether `package` builds them.
    """

    files: tuple[TargetFile, ...]
    packaged: bool


async def _sources(targets: Iterable[Target]) -> Digest:
    """Returns files in the repository, or generated from them, as `archive` and `docker_image` do."""
    sources = await concurrently(
        hydrated_sources_of(
            HydrateSourcesRequest(
                target[SourcesField],
                # What can be generated as such files is; all other sources are taken as they are.
                for_sources_types=(FileSourceField, ResourceSourceField, SourcesField),
                enable_codegen=True,
            )
        )
        for target in targets
    )
    return await merge(one.snapshot.digest for one in sources)


def require_link_inside(path: str, target: str, origin: str, relative: str = "") -> None:
    """Checks a symbolic link.

    :param path: of the link, from the build root.
    :param relative: its path from the directory that it must not leave, if that is another one.
    :raises NixImageError: it leads out.
    """
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(relative or path), target))
    if target.startswith("/") or reached.split("/")[0] == "..":
        raise NixImageError(
            f"{origin} has a symbolic link that leads out of it: {path} -> {target}. In the image it would "
            "lead to something else. Take it out of the target, or put what it leads to there; a link that "
            "is meant so goes into the field `symlinks`."
        )


def _target_file(entry: _Entry, origin: str) -> TargetFile:
    if isinstance(entry, Directory):
        return TargetFile(entry.path)
    if isinstance(entry, FileEntry):
        return TargetFile(entry.path, entry.file_digest, entry.is_executable)
    require_link_inside(entry.path, entry.target, origin)
    return TargetFile(entry.path, target=entry.target)


@rule(desc="Collect files of target")
async def collect_target_files(request: TargetFilesRequest) -> TargetFiles:
    targets = await targets_of(Addresses([request.address]))
    packaged = await package_field_sets_of(FieldSetsPerTargetRequest(PackageFieldSet, targets))
    field_sets = packaged.field_sets
    unpackaged = [
        target for target, found in zip(targets, packaged.collection) if not found
    ]
    for target in unpackaged:
        if target.has_field(NixPackageSourceField):
            raise NixImageError(
                f"{request.origin} names {target.address}, which is a `{target.alias}`. Nix builds it, so "
                "it goes into `packages` (or, for files outside of `/nix/store`, into `copy_to_root`)."
            )
        if not target.has_field(SourcesField):
            raise NixImageError(
                f"{request.origin} names {target.address}, a `{target.alias}`, which is neither packaged "
                "by Pants nor has files. Name a target that `package` builds, or one with sources."
            )
    built = await concurrently(package_of(field_set) for field_set in field_sets)
    digest = await merge((*(one.digest for one in built), await _sources(unpackaged)))
    what = f"{request.address}, which {request.origin[0].lower()}{request.origin[1:]} names,"
    files = [_target_file(entry, what) for entry in await entries(digest)]
    if not files:
        raise NixImageError(
            f"{request.origin} names {request.address}, which has no files. Take it out, or give it some."
        )
    return TargetFiles(tuple(sorted(files, key=lambda file: file.path)), bool(field_sets))


def rules():
    return collect_rules()
