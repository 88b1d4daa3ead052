"""Target with layers → what its layers of files hold: the small things of a file system, then `contents`."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import Iterable, Optional, Sequence

from nixoci.errors import InvalidInputError
from nixoci.layering.distributions import DistributionSize
from nixoci.layering.files import FileGroup
from nixoci.recipe.accounts import Accounts
from nixoci.recipe.files import FileEntry as Entry
from nixoci.recipe.files import check_destination
from nixoci.recipe.layer import Owner
from pants.engine.addresses import Address
from pants.engine.rules import collect_rules
from pants.engine.target import Target
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    concurrently,
    implicitly,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.file_system import (
    FileSystemRequest,
    describe_file_system,
    shadows_of,
)
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTarget,
    LayerTargets,
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.assembly.layering import rates_of
from pants_backend_nix.rules.flow.files import (
    TargetFiles,
    TargetFilesRequest,
    collect_target_files,
    require_link_inside,
)
from pants_backend_nix.rules.python.layout import PexLayoutRequest, lay_out_pex
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.fields.contents import (
    NixContents,
    NixContentsField,
)
from pants_backend_nix.targets.fields.file_system import MOST_ID
from pants_backend_nix.targets.layer_budget import contents_layer_count


@dataclass(frozen=True)
class FileLayersRequest:
    """Asks for what the layers of files of a target and of all targets below it hold.

    :param address: of a `nix_layer` or `nix_image`.
    """

    address: Address


@dataclass(frozen=True)
class FileLayer:
    """:param groups: of files, those that come later over the others.
    :param target: that it belongs to.
    :param distributions: of Python in it.
    :param why: they are in a layer of their own.
    """

    groups: tuple[FileGroup, ...]
    target: Target
    distributions: tuple[DistributionSize, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class FileLayers:
    """:param layers: bottom first. The first one has the small things of the file system, if there are any."""

    layers: tuple[FileLayer, ...]


@dataclass(frozen=True)
class _Part:
    """One layer of what an entry of the field `contents` brings.

    :param rank: what changes more often is higher: what is only copied, requirements, what Pants builds.
    """

    group: FileGroup
    rank: int
    distributions: tuple[DistributionSize, ...] = ()
    why: str = ""


async def _files_part(
    target: Target, item: NixContents, address: Address, accounts: Accounts, origin: str
) -> tuple[_Part, ...]:
    files = await collect_target_files(TargetFilesRequest(address, origin), **implicitly())
    entries = _entries(target, item, files, accounts)
    return (_Part(FileGroup(_said(target, item), entries), 2 if files.packaged else 0),)


async def _split_parts(
    layer: LayerTarget,
    item: NixContents,
    address: Address,
    resolved: LayerTargets,
    accounts: Accounts,
    options: NixImageSubsystem,
) -> tuple[_Part, ...]:
    """Returns the layers of a `pex_binary` that is laid out."""
    target = layer.target
    place = item.to.rstrip("/")
    owner = _owner(target, item, accounts)
    found = await lay_out_pex(
        PexLayoutRequest(
            address,
            target.address,
            place,
            _through_links(layer.interpreters[item.interpreter or ""], resolved),
            resolved.packages,
            tuple(package for one in resolved.targets for package in one.copied),
            item.libraries,
            rates_of(target, options),
            max(0, min(item.layer_count, contents_layer_count(target)) - 2 - bool(item.libraries)),
            owner,
            f"The entry for {_said(target, item)}",
            EnvironmentNameRequest.from_target(target),
        ),
        **implicitly(),
    )
    said = [f"the {part.name} of {_said(target, item)}" for part in found.parts]
    below = tuple(said[: found.requirement_parts])
    return tuple(
        _Part(
            FileGroup(
                origin,
                (*_own_directories(item, part.files, owner), *part.files),
                () if origin in below else below,
            ),
            1 if origin in below else 2,
            part.distributions,
            part.why,
        )
        for origin, part in zip(said, found.parts)
    )


def _through_links(path: str, resolved: LayerTargets) -> str:
    """Returns where a path leads by the links of the fields `symlinks`."""
    links = dict(link for layer in resolved.targets for link in layer.symlinks)
    for _ in links:
        if path in links:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), links[path]))
    return path


def _said(target: Target, item: NixContents) -> str:
    """Returns which entry of a field it is, for people."""
    return f"{item.address!r} in the field `{NixContentsField.alias}` of {target.address}"


async def _field_parts(
    layer: LayerTarget,
    resolved: LayerTargets,
    accounts: Accounts,
    request: FileLayersRequest,
    options: NixImageSubsystem,
) -> list[_Part]:
    """Returns what the field `contents` of a target brings, lowest first.

    :param request: in which the target takes part. What it asks for cannot be in itself.
    """
    target = layer.target
    field = target[NixContentsField]
    items = field.value or ()
    origin = f"The field `{field.alias}` of {target.address}"
    addresses = await field_addresses(target, field.alias, [item.address for item in items])
    for address in addresses:
        if address in (target.address, request.address):
            raise NixImageError(
                f"{origin} names {address}, which would be in itself. Take it out of the field."
            )
    found: tuple[tuple[_Part, ...], ...] = await concurrently(
        _files_part(target, item, address, accounts, origin)
        if item.split is None
        else _split_parts(layer, item, address, resolved, accounts, options)
        for item, address in zip(items, addresses)
    )
    return sorted((part for parts in found for part in parts), key=lambda part: part.rank)


@rule(desc="Plan layers of files")
async def plan_file_layers(
    request: FileLayersRequest, options: NixImageSubsystem
) -> FileLayers:
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    system = await describe_file_system(FileSystemRequest(request.address), **implicitly())
    layers = [FileLayer(system.groups, resolved.targets[-1].target)]
    # All contents are above the small things, and what a target has above what is below the target.
    for rank, layer in enumerate(resolved.targets, len(resolved.targets)):
        parts = await _field_parts(layer, resolved, system.accounts, request, options)
        for merged in _merged(parts, contents_layer_count(layer.target)):
            layers.append(
                FileLayer(
                    tuple(
                        replace(part.group, rank=rank, shadows=shadows_of(layer.target))
                        for part in merged
                    ),
                    layer.target,
                    tuple(name for part in merged for name in part.distributions),
                    "; ".join(part.why for part in merged if part.why),
                )
            )
    return FileLayers(tuple(layers))


def _merged(parts: Sequence[_Part], count: int) -> list[list[_Part]]:
    """Returns a layer for each part; the lowest share one if there are more than `count`."""
    shared = max(0, len(parts) - count) + 1
    return [list(parts[:shared]), *([part] for part in parts[shared:])] if parts else []


def _owner(target: Target, item: NixContents, accounts: Accounts) -> Owner:
    """:raises NixImageError: an owner that there is not."""
    try:
        return Owner() if item.owner is None else accounts.owner(item.owner)
    except InvalidInputError as error:
        users = ", ".join(user.name for user in accounts.users)
        groups = ", ".join(group.name for group in accounts.groups)
        raise NixImageError(
            f"The entry for {_said(target, item)}: {error} Add it to the field `users` (there are: {users}) or `groups` "
            f'(there are: {groups}), or write numbers up to {MOST_ID}, such as "1000:1000".'
        ) from None


def _entries(
    target: Target, item: NixContents, files: TargetFiles, accounts: Accounts
) -> tuple[Entry, ...]:
    """Returns what one entry of the field `contents` puts where.

    :raises NixImageError: several files for one place, a prefix that some of them do not have, an owner
        that there is not, a place where nothing can be.
    """
    where = f"The entry for {item.address!r} in the field `contents` of {target.address}"
    owner = _owner(target, item, accounts)
    if not item.is_directory and len(files.files) > 1:
        some = bullet_list([file.path for file in files.files], max_elements=5)
        raise NixImageError(
            f"{where} has the one place {item.to}, and the target has {len(files.files)} files. End the "
            f"place with a slash to make it their directory:\n\n{some}"
        )
    entries = []
    for file in files.files:
        path = item.to
        if item.is_directory:
            relative = _without_prefix(file.path, item.strip_prefix)
            if relative is None:
                raise NixImageError(
                    f"{where} has `strip_prefix={item.strip_prefix!r}`, but {file.path} is not below that "
                    "directory. Correct or shorten it."
                )
            path += relative
            if file.target is not None:
                require_link_inside(file.path, file.target, where, relative)
        if item.mode is not None:
            mode = int(item.mode, 8)
        else:
            mode = 0o555 if file.executable else 0o444
        try:
            check_destination(path)
            if file.content is not None:
                sha256, size = file.content.fingerprint, file.content.serialized_bytes_length
                entries.append(
                    Entry(
                        path,
                        mode,
                        owner,
                        sha256=sha256,
                        size=size,
                        capabilities=item.capabilities,
                    )
                )
            elif file.target is not None:
                entries.append(Entry(path, 0o777, owner, target=file.target))
            else:
                entries.append(Entry(path, 0o755, owner))
        except InvalidInputError as error:
            raise NixImageError(f"{where}: {error} Take the file out of the target.") from None
    return (*_own_directories(item, entries, owner), *entries)


def _own_directories(
    item: NixContents, entries: Iterable[Entry], owner: Owner
) -> tuple[Entry, ...]:
    """Returns the directories that come with the files, if those do not belong to root.

    The place itself may be one that others use, such as `/etc`; it stays as it is.
    """
    if owner == Owner():
        return ()
    place = item.to.rstrip("/") + "/"
    found: dict[str, None] = {}
    for entry in entries:
        path = entry.parent
        while path.startswith(place):
            found[path] = None
            path = path.rpartition("/")[0]
    return tuple(Entry(path, 0o755, owner) for path in sorted(found))


def _without_prefix(path: str, prefix: str) -> Optional[str]:
    """Returns what of `path` is below the directory `prefix`; None if it is not there."""
    prefix = prefix.strip("/")
    if not prefix:
        return path
    return path[len(prefix) + 1 :] if path.startswith(f"{prefix}/") else None


def rules():
    return collect_rules()
