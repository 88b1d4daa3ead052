"""Target with layers → its layers of files: the small things of a file system, then `contents`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from nixoci.errors import InvalidInputError
from nixoci.layering.files import FileCollisionError, FileGroup, layers_of_files
from nixoci.recipe.accounts import NO_SHELL, Accounts, Group, User, owner_of
from nixoci.recipe.files import FileEntry as Entry
from nixoci.recipe.files import FilesRecipe
from nixoci.recipe.layer import Owner
from pants.engine.addresses import Address, Addresses, UnparsedAddressInputs
from pants.engine.fs import Digest, FileDigest, FileEntry
from pants.engine.rules import collect_rules
from pants.engine.target import Target
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    addresses_of,
    concurrently,
    create,
    implicitly,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.flow.certificates import CertificatesRequest, bundle_certificates
from pants_backend_nix.rules.flow.evaluate import NixPackageRequest, evaluate_package
from pants_backend_nix.rules.flow.files import (
    TargetFiles,
    TargetFilesRequest,
    collect_target_files,
    require_link_inside,
)
from pants_backend_nix.targets.fields.files import (
    MOST_ID,
    NixCaCertificatesField,
    NixContents,
    NixContentsField,
    NixDirectoriesField,
    NixGroupsField,
    NixUsersField,
    contents_layer_count,
)
from pants_backend_nix.targets.package import NixPackageSourceField

_ACCOUNT_FIELDS = (NixUsersField, NixGroupsField)


@dataclass(frozen=True)
class FileLayersRequest:
    """Asks for the layers of files of a target and of all targets below it.

    :param address: of a `nix_layer` or `nix_image`.
    """

    address: Address


@dataclass(frozen=True)
class FileLayer:
    """:param contents: a tree of the contents, each named by its SHA-256.
    :param target: that it belongs to.
    """

    recipe: FilesRecipe
    contents: Digest
    target: Address


@dataclass(frozen=True)
class FileLayers:
    """:param layers: bottom first."""

    layers: tuple[FileLayer, ...]


async def _field_groups(
    target: Target, accounts: Accounts, request: FileLayersRequest
) -> list[FileGroup]:
    """Returns what the field `contents` brings, one group for each entry.

    What is only copied comes first, what Pants builds last: it changes more often.

    :param request: in which the target takes part. What it asks for cannot be in itself.
    """
    field = target[NixContentsField]
    items = field.value or ()
    origin = f"The field `{field.alias}` of {target.address}"
    addresses = await concurrently(
        addresses_of(
            UnparsedAddressInputs(
                [item.address],
                owning_address=target.address,
                description_of_origin=f"the field `{field.alias}` of {target.address}",
            )
        )
        for item in items
    )
    for (address,) in addresses:
        if address in (target.address, request.address):
            raise NixImageError(
                f"{origin} names {address}, which would be in itself. Take it out of the field."
            )
    found: tuple[TargetFiles, ...] = await concurrently(
        collect_target_files(TargetFilesRequest(address, origin), **implicitly())
        for (address,) in addresses
    )
    pairs = sorted(zip(items, found), key=lambda pair: pair[1].packaged)
    return [
        FileGroup(
            f"{item.address!r} in the field `{field.alias}` of {target.address}",
            _entries(target, item, files, accounts),
        )
        for item, files in pairs
    ]


async def _certificates(address: Address, targets: Sequence[Target]) -> tuple[Entry, ...]:
    """Returns the bundle of what all targets name in the field `ca_certificates`."""
    origins = [
        (value, target, f"the field `ca_certificates` of {target.address}")
        for target in targets
        for value in target[NixCaCertificatesField].value or ()
    ]
    if not origins:
        return ()
    addresses = await concurrently(
        addresses_of(
            UnparsedAddressInputs(
                [value], owning_address=target.address, description_of_origin=origin
            )
        )
        for value, target, origin in origins
    )
    named = await concurrently(targets_of(Addresses(one)) for one in addresses)
    found = {
        one: origin[0].upper() + origin[1:]
        for some, (_, _, origin) in zip(named, origins)
        for one in some
    }
    packages = await concurrently(
        evaluate_package(NixPackageRequest(target.address, origin), **implicitly())
        for target, origin in found.items()
        if target.has_field(NixPackageSourceField)
    )
    files = await concurrently(
        collect_target_files(TargetFilesRequest(target.address, origin), **implicitly())
        for target, origin in found.items()
        if not target.has_field(NixPackageSourceField)
    )
    bundle = await bundle_certificates(
        CertificatesRequest(
            packages,
            tuple(file for one in files for file in one.files if file.content is not None),
            f"{address}",
            EnvironmentNameRequest.from_target(targets[-1]),
        ),
        **implicitly(),
    )
    return bundle.entries


async def _contents_of(recipe: FilesRecipe) -> Digest:
    return await create(
        [FileEntry(sha256, FileDigest(sha256, size)) for sha256, size in recipe.sizes.items()]
    )


@rule(desc="Plan layers of files")
async def plan_file_layers(request: FileLayersRequest) -> FileLayers:
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    targets = [layer.target for layer in resolved.targets]
    accounts = _accounts(request.address, targets)
    declared = [
        FileGroup(f"the field `directories` of {target.address}", _directories(target))
        for target in targets
    ]
    system = list(declared)
    for layer in resolved.targets:
        address = layer.target.address
        links = tuple(Entry(path, 0o777, target=to) for path, to in layer.symlinks)
        system.append(FileGroup(f"the field `symlinks` of {address}", links))
    if any(target[field].value for target in targets for field in _ACCOUNT_FIELDS):
        system.append(FileGroup("the fields `users` and `groups`", accounts.files()))
    certificates = await _certificates(request.address, targets)
    system.append(FileGroup("the field `ca_certificates`", certificates))
    owners = [request.address]
    contents = []
    for target in targets:
        for groups in _merged(
            await _field_groups(target, accounts, request), contents_layer_count(target)
        ):
            owners.append(target.address)
            contents.append(groups)
    try:
        _require_agreement(declared)
        recipes = layers_of_files(system, contents)
    except FileCollisionError as error:
        raise NixImageError(
            f"{request.address}: {error} Take one of them out, or give it another place."
        ) from None
    return FileLayers(
        tuple(
            [
                FileLayer(recipe, await _contents_of(recipe), address)
                for recipe, address in zip(recipes, owners)
                if recipe is not None
            ]
        )
    )


def _accounts(address: Address, targets: Sequence[Target]) -> Accounts:
    """Returns the users and groups of an image: those of all its layer targets."""
    users = [
        User(
            entry["name"],
            entry["uid"],
            entry.get("gid", entry["uid"]),
            entry.get("home", "/"),
            entry.get("shell", NO_SHELL),
        )
        for target in targets
        for entry in target[NixUsersField].value or ()
    ]
    groups = [
        Group(entry["name"], entry["gid"])
        for target in targets
        for entry in target[NixGroupsField].value or ()
    ]
    try:
        return Accounts.create(users, groups)
    except InvalidInputError as error:
        raise NixImageError(
            f"{address}: {error} Correct the fields `users` and `groups` of the target and of its layers."
        ) from None


def _directories(target: Target) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            entry["path"],
            int(entry.get("mode", "0755"), 8),
            owner_of(entry.get("uid", 0), entry.get("gid", 0)),
        )
        for entry in target[NixDirectoriesField].value or ()
    )


def _require_agreement(declared: Sequence[FileGroup]) -> None:
    """Checks that nothing is declared in two ways.

    :raises FileCollisionError: it is. Of directories that contents merely have, none is said.
    """
    found: dict[str, tuple[Entry, str]] = {}
    for group in declared:
        for entry in group.entries:
            other, origin = found.setdefault(entry.path, (entry, group.origin))
            if other != entry:
                raise FileCollisionError(
                    entry.path, (origin, group.origin), "brought by two, differently"
                )


def _merged(groups: Sequence[FileGroup], count: int) -> list[list[FileGroup]]:
    """Returns a layer for each group; the lowest share one if there are more than `count`."""
    shared = max(0, len(groups) - count) + 1
    return [list(groups[:shared]), *([group] for group in groups[shared:])] if groups else []


def _entries(
    target: Target, item: NixContents, files: TargetFiles, accounts: Accounts
) -> tuple[Entry, ...]:
    """Returns what one entry of the field `contents` puts where.

    :raises NixImageError: several files for one place, a prefix that some of them do not have, an owner
        that there is not, a place where nothing can be.
    """
    where = f"The entry for {item.address!r} in the field `contents` of {target.address}"
    try:
        owner = Owner() if item.owner is None else accounts.owner(item.owner)
    except InvalidInputError as error:
        users = ", ".join(user.name for user in accounts.users)
        groups = ", ".join(group.name for group in accounts.groups)
        raise NixImageError(
            f"{where}: {error} Add it to the field `users` (there are: {users}) or `groups` (there are: "
            f'{groups}), or write numbers up to {MOST_ID}, such as "1000:1000".'
        ) from None
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
    item: NixContents, entries: Sequence[Entry], owner: Owner
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
