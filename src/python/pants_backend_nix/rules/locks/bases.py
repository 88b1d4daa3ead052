"""Targets → the lock files of base images, as registries have them now."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.base.lock import BaseLock, lock_base, lock_moves
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.image.reference import Reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.reading.reader import RepositoryReader, reading_connections
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import PathGlobs
from pants.engine.rules import collect_rules
from pants.engine.target import Dependencies, DependenciesRequest

from pants_backend_nix.engine import (
    concurrently,
    contents,
    dependencies_of,
    files_matching,
    implicitly,
    rule,
    targets_of,
)
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.locks.locked_file import LockChoice, LockedFile
from pants_backend_nix.rules.registry.environment import registry_environment
from pants_backend_nix.rules.registry.options import RegistryOptionsRequest, collect_registries
from pants_backend_nix.targets.base.base_image import (
    BaseDigestField,
    BaseImageField,
    BaseLockField,
)


@dataclass(frozen=True)
class LockBaseRequest:
    """Asks what the tag of an `oci_base_image` without `digest` is.

    :param choice: the target's name is that of the one thing that its file pins. What is locked and must not move
        stays, unless it is the lock of another image.
    :param session: in which the registry is asked.
    """

    address: Address
    choice: LockChoice
    session: int


@dataclass(frozen=True)
class LockBasesRequest:
    """Asks for the lock files of the `oci_base_image` targets among some, or that these depend on directly.

    Those with a `digest` have none.
    """

    addresses: Addresses
    choice: LockChoice
    session: int


@dataclass(frozen=True)
class LockedBases:
    """:param files: by path."""

    files: tuple[LockedFile, ...]


@rule(desc="Lock base image")
async def lock_base_image(request: LockBaseRequest, options: NixImageSubsystem) -> LockedFile:
    (target,) = await targets_of(Addresses([request.address]))
    path = target[BaseLockField].file_path or ""
    spec = target.address.spec
    reference = Reference.parse(target[BaseImageField].value or "")
    found = await contents(await files_matching(PathGlobs([path])))
    old_content = found[0].content if found else b""
    notes: tuple[str, ...] = ()
    old = None
    if old_content:
        try:
            old = BaseLock.from_json(old_content)
        except InvalidInputError as error:
            notes = (f"{path} could not be read, so all of it is new. {error}",)
    names = frozenset({target.address.target_name})
    stays = request.choice.keep or not names.issuperset(request.choice.inputs or names)
    if stays and old is not None and old.image == str(reference):
        return LockedFile(path, spec, names=names)
    environment = await registry_environment(options.env_vars)
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    connections = reading_connections(environment)
    try:
        reader = RepositoryReader(
            reference.repository,
            connections=connections,
            credentials=CredentialSearch.of_environment(environment),
            registries=known.connection_settings(),
        )
        new = lock_base(reader, reference)
    except NixOciError as error:
        return LockedFile(path, spec, error=f"{spec}: {reference} cannot be locked. {error}")
    finally:
        connections.close()
    content = new.to_json()
    return LockedFile(
        path,
        spec,
        content if content != old_content else None,
        lock_moves(old, new),
        names,
        notes,
    )


@rule
async def lock_base_images(request: LockBasesRequest) -> LockedBases:
    named = await targets_of(request.addresses)
    dependencies = await concurrently(
        dependencies_of(DependenciesRequest(target[Dependencies]))
        for target in named
        if target.has_field(Dependencies) and not target.has_field(BaseLockField)
    )
    below = await targets_of(Addresses(sorted({one for some in dependencies for one in some})))
    targets = {
        target[BaseLockField].file_path: target
        for target in (*named, *below)
        if target.has_field(BaseLockField)
        and target[BaseImageField].value is not None
        and target[BaseDigestField].value is None
    }
    files = await concurrently(
        lock_base_image(
            LockBaseRequest(targets[path].address, request.choice, request.session), **implicitly()
        )
        for path in sorted(path for path in targets if path is not None)
    )
    return LockedBases(tuple(files))


def rules():
    return collect_rules()
