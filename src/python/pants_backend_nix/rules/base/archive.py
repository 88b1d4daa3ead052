"""Target with an image in files → the image, and these files for whoever reads its layers."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.base.archive import base_in_archive
from nixoci.base.errors import UnusableBaseError
from nixoci.base.image import BaseImage
from nixoci.errors import InvalidInputError
from nixoci.image.archive_listing import LARGEST_DOCUMENT, ArchiveListing, ListedFile
from nixoci.image.index.platforms import parse_platform
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest, FileEntry
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import contents as contents_of
from pants_backend_nix.engine import create, implicitly, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.contents import CONTENTS_DIRECTORY
from pants_backend_nix.rules.core.run import CoreRun, run_core
from pants_backend_nix.rules.flow.files import TargetFile, TargetFilesRequest, collect_target_files
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.base.base_image import (
    BaseArchiveField,
    BaseDigestField,
    BasePlatformField,
)


@dataclass(frozen=True)
class BaseArchiveRequest:
    """:param address: of an `oci_base_image` with the field `archive`.
    :param platform: as text, of the image that is on top of it.
    """

    address: Address
    platform: str


@dataclass(frozen=True)
class BaseInArchive:
    """:param contents: a tree of the files that have its layers, each named by its SHA-256.
    :param name: for people.
    """

    image: BaseImage
    contents: Digest
    name: str


async def _files(files: tuple[TargetFile, ...]) -> Digest:
    """Returns a tree of files, each named by its SHA-256."""
    entries = {
        file.content.fingerprint: FileEntry(file.content.fingerprint, file.content)
        for file in files
        if file.content is not None
    }
    return await create([entries[name] for name in sorted(entries)])


async def _layout(files: tuple[TargetFile, ...], directory: str) -> ArchiveListing:
    """Returns what an OCI image layout has, by paths in its directory."""
    listed: dict[str, ListedFile] = {}
    small = []
    for file in files:
        if file.content is not None and file.path.startswith(directory):
            name = file.path[len(directory) :]
            listed[name] = ListedFile(
                file.content.fingerprint, 0, file.content.serialized_bytes_length
            )
            if listed[name].size <= LARGEST_DOCUMENT:
                small.append(FileEntry(name, file.content))
    documents = await contents_of(await create(small))
    return ArchiveListing(listed, {one.path: one.content for one in documents})


async def _tar(file: TargetFile, origin: str) -> ArchiveListing:
    assert file.content is not None
    result = await run_core(
        CoreRun(
            (
                "list-archive",
                "--output=listing.json",
                f"{CONTENTS_DIRECTORY}/{file.content.fingerprint}",
            ),
            f"List the image archive {file.path}",
            contents=await _files((file,)),
            output="listing.json",
            needs_nix=False,
            has_image=True,
        ),
        **implicitly(),
    )
    if result.output is None:
        message = result.error.get("message") or result.stderr
        raise NixImageError(f"{origin} cannot be a base: {message}")
    return ArchiveListing.from_json(result.output)


@rule(desc="Read image archive")
async def read_base_archive(request: BaseArchiveRequest) -> BaseInArchive:
    (target,) = await targets_of(Addresses([request.address]))
    field = target[BaseArchiveField]
    assert field.value is not None
    (address,) = await field_addresses(target, field.alias, (field.value,))
    origin = f"The field `{field.alias}` of {target.address}"
    found = await collect_target_files(TargetFilesRequest(address, origin), **implicitly())
    indexes = [one.path for one in found.files if one.path.rpartition("/")[2] == "index.json"]
    tars = [one for one in found.files if one.content is not None]
    name = f"{target.address}: {address}"
    if len(indexes) == 1:
        listing = await _layout(found.files, indexes[0][: -len("index.json")])
    elif len(tars) == 1:
        listing = await _tar(tars[0], name)
    else:
        raise NixImageError(
            f"{origin} names {address}, which has {len(tars)} files. Name a target with one archive, or with the files "
            "of one OCI image layout (`index.json` and `blobs/**`)."
        )
    platform = parse_platform(target[BasePlatformField].value or request.platform)
    try:
        image = base_in_archive(listing, platform, target[BaseDigestField].value or "")
    except (UnusableBaseError, InvalidInputError) as error:
        raise NixImageError(f"{name} cannot be a base: {error}") from None
    used = {recipe.file for recipe in image.recipes}
    kept = tuple(
        one for one in found.files if one.content is not None and one.content.fingerprint in used
    )
    return BaseInArchive(image, await _files(kept), address.spec)


def rules():
    return collect_rules()
