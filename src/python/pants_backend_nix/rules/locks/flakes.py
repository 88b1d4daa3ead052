"""Targets → the lock files of their flakes, as Nix updates them now."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional

from nixoci.errors import InvalidInputError
from nixoci.store.locks.lock_file import parse_lock
from nixoci.store.locks.names import FLAKE, FLAKE_LOCK
from nixoci.store.locks.moves import moves_between
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import PathGlobs
from pants.engine.rules import collect_rules
from pants.engine.target import (
    Dependencies,
    DependenciesRequest,
    Target,
)

from pants_backend_nix.engine import (
    concurrently,
    contents,
    dependencies_of,
    files_matching,
    implicitly,
    merge,
    rule,
    targets_of,
)
from pants_backend_nix.errors import explain_lock_error
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.core.run import CoreRun, run_core
from pants_backend_nix.rules.flow.evaluate import visible_files, visible_tree
from pants_backend_nix.rules.inference.owners import owners_of
from pants_backend_nix.rules.inference.references import PathReference
from pants_backend_nix.rules.inference.undeclared import target_to_add
from pants_backend_nix.rules.locks.locked_file import LockChoice, LockedFile
from pants_backend_nix.targets.evaluated import SOURCE_ROOT
from pants_backend_nix.targets.package import NixPackageSourceField, NixSourceField

_OUTPUT = "new.lock"


@dataclass(frozen=True)
class LockFlakeRequest:
    """Asks for the lock file of a flake to be updated.

    :param path: of the `flake.nix`.
    :param addresses: of the targets that have it: Nix sees what they depend on. The first one is for messages.
    :param session: in which it is asked: Nix looks at the world each time.
    """

    path: str
    addresses: tuple[Address, ...]
    choice: LockChoice
    session: int


@dataclass(frozen=True)
class LockFlakesRequest:
    """Asks for the lock files of the flakes among targets.

    :param addresses: of targets that are a `flake.nix`, have one as `source`, or depend on one.
    """

    addresses: Addresses
    choice: LockChoice
    session: int


@dataclass(frozen=True)
class LockedFlakes:
    """:param files: a lock file for each flake, by path."""

    files: tuple[LockedFile, ...]


async def _ownership_note(path: str, lock: str, exists: bool) -> str:
    """Returns what to do about a lock file that no target owns, and evaluation would not see; empty if one does.

    :param exists: otherwise it is about to be made, and sources with `flake.nix` may have it then.
    """
    of_lock, of_flake = await owners_of((PathReference(lock), PathReference(path, imported=True)))
    if of_lock.of(lock) or (
        not exists and any(owner.is_generated_target for owner in of_flake.of(path))
    ):
        return ""
    build = posixpath.join(posixpath.dirname(lock), "BUILD")
    return f"No target owns {lock}, so evaluation does not see it. Add to {build}: {target_to_add(lock)}"


@rule(desc="Lock the inputs of a flake")
async def lock_flake(request: LockFlakeRequest, nix: NixSubsystem) -> LockedFile:
    path, address = request.path, request.addresses[0]
    lock = posixpath.join(posixpath.dirname(path), FLAKE_LOCK)
    # Also where no target owns it, so that nothing of it gets lost.
    on_disk = await files_matching(PathGlobs([lock]))
    old = {file.path: file.content for file in await contents(on_disk)}.get(lock, b"")
    files = await visible_files(request.addresses)
    result = await run_core(
        CoreRun(
            (
                "lock-flake",
                f"--root={SOURCE_ROOT}",
                f"--source={path}",
                *(f"--input={name}" for name in request.choice.inputs),
                *(("--keep",) if request.choice.keep else ()),
                *(f"--experimental-feature={f}" for f in nix.extra_experimental_features),
                f"--output={_OUTPUT}",
            ),
            description=f"Lock the inputs of {path}",
            input_digest=await visible_tree(await merge((files.snapshot.digest, on_disk))),
            output=_OUTPUT,
            session=request.session,
            has_image=True,
        ),
        **implicitly(),
    )
    if result.output is None:
        error = explain_lock_error(result.error, result.stderr, address, path)
        return LockedFile(lock, address.spec, error=str(error))
    new, notes = result.output, []
    try:
        before = parse_lock(old) if old else {}
    except InvalidInputError as invalid:
        before = {}
        notes.append(f"{lock} could not be read, so all of it is new. {invalid}")
    after = parse_lock(new) if new else {}
    if new:
        notes.append(await _ownership_note(path, lock, bool(old)))
    return LockedFile(
        lock,
        address.spec,
        new if new and new != old else None,
        tuple(map(str, moves_between(before, after))),
        frozenset(after),
        tuple(note for note in notes if note),
    )


def _flake(target: Target) -> Optional[str]:
    """Returns the `flake.nix` that a target is, or is made from."""
    for field in (NixSourceField, NixPackageSourceField):
        if target.has_field(field):
            path = target[field].file_path
            return path if path is not None and posixpath.basename(path) == FLAKE else None
    return None


def _flakes_of(targets: Iterable[Target]) -> Iterator[str]:
    for target in targets:
        path = _flake(target)
        if path is not None:
            yield path


@rule
async def lock_flakes(request: LockFlakesRequest) -> LockedFlakes:
    """A target that is no flake itself stands for those that it depends on directly."""
    found: dict[str, list[Address]] = {}
    others = []
    targets = sorted(await targets_of(request.addresses), key=lambda target: target.address)
    for target in targets:
        path = _flake(target)
        if path is not None:
            found.setdefault(path, []).append(target.address)
        elif target.has_field(Dependencies):
            others.append(target)
    dependencies = await concurrently(
        dependencies_of(DependenciesRequest(target[Dependencies])) for target in others
    )
    of_others = await concurrently(targets_of(addresses) for addresses in dependencies)
    for target, some in zip(others, of_others):
        for path in _flakes_of(some):
            found.setdefault(path, []).append(target.address)
    files = await concurrently(
        lock_flake(
            LockFlakeRequest(
                path, tuple(dict.fromkeys(found[path])), request.choice, request.session
            ),
            **implicitly(),
        )
        for path in sorted(found)
    )
    return LockedFlakes(tuple(files))


def rules():
    return collect_rules()
