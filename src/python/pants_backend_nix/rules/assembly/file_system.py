"""Target with layers → the small things of its file system: directories, accounts, links, certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from nixoci.errors import InvalidInputError
from nixoci.layering.collisions import FileCollisionError
from nixoci.layering.files import FileGroup
from nixoci.recipe.accounts import NO_SHELL, Accounts, Group, User, owner_of
from nixoci.recipe.files import FileEntry as Entry
from pants.engine.addresses import Address, Addresses
from pants.engine.rules import collect_rules
from pants.engine.target import Target

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    concurrently,
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
from pants_backend_nix.rules.flow.files import TargetFilesRequest, collect_target_files
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.fields.file_system import (
    NixCaCertificatesField,
    NixDirectoriesField,
    NixGroupsField,
    NixShadowsField,
    NixUsersField,
)
from pants_backend_nix.targets.package import NixPackageSourceField

_ACCOUNT_FIELDS = (NixUsersField, NixGroupsField)


@dataclass(frozen=True)
class FileSystemRequest:
    """Asks for what the fields of a target and of all targets below it come to, together.

    :param address: of a `nix_layer` or `nix_image`.
    """

    address: Address


@dataclass(frozen=True)
class FileSystem:
    """:param groups: what is in the first layer of files. A directory that is in several of them is as
        the first one says.
    :param accounts: users and groups, also if no field names any: root.
    """

    groups: tuple[FileGroup, ...]
    accounts: Accounts


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
        field_addresses(target, NixCaCertificatesField.alias, (value,))
        for value, target, _ in origins
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


@rule(desc="Describe file system")
async def describe_file_system(request: FileSystemRequest) -> FileSystem:
    resolved = await resolve_layer_targets(LayerTargetsRequest(request.address), **implicitly())
    targets = [layer.target for layer in resolved.targets]
    accounts = _accounts(request.address, targets)
    # What a target has lies above all that the targets before it have.
    groups = [
        FileGroup(
            f"the field `directories` of {target.address}",
            _directories(target),
            rank=rank,
            shadows=shadows_of(target),
        )
        for rank, target in enumerate(targets)
    ]
    try:
        _require_agreement([*groups, *_homes(accounts, groups)])
    except FileCollisionError as error:
        raise NixImageError(f"{request.address}: {error} Take one of them out.") from None
    for rank, layer in enumerate(resolved.targets):
        links = tuple(Entry(path, 0o777, target=to) for path, to in layer.symlinks)
        groups.append(
            FileGroup(
                f"the field `symlinks` of {layer.target.address}",
                links,
                rank=rank,
                shadows=shadows_of(layer.target),
            )
        )
    # These are of all targets together.
    last = len(targets) - 1
    shadows = tuple(pattern for target in targets for pattern in shadows_of(target))
    if any(target[field].value for target in targets for field in _ACCOUNT_FIELDS):
        groups.append(
            FileGroup(
                "the fields `users` and `groups`", accounts.files(), rank=last, shadows=shadows
            )
        )
    certificates = await _certificates(request.address, targets)
    groups.append(
        FileGroup("the field `ca_certificates`", certificates, rank=last, shadows=shadows)
    )
    return FileSystem(tuple(groups), accounts)


def shadows_of(target: Target) -> tuple[str, ...]:
    """Returns where a target may replace what layers below it have."""
    return target[NixShadowsField].value or ()


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


def _homes(accounts: Accounts, declared: Sequence[FileGroup]) -> list[FileGroup]:
    """Returns the home directories, without those of which a field says how they are."""
    known = {entry.path for group in declared for entry in group.entries}
    return [
        FileGroup(f"the home of the user {user.name!r}", (home,))
        for user, home in accounts.homes()
        if home.path not in known
    ]


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


def rules():
    return collect_rules()
