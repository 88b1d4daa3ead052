"""`pants nix-lock`: moves what pins the inputs of a build, and says what has moved."""

from __future__ import annotations

import os

from nixoci.atomic import OutputError, replace_file
from pants.base.build_environment import get_buildroot
from pants.engine.addresses import Addresses
from pants.engine.console import Console
from pants.engine.goal import Goal, GoalSubsystem
from pants.engine.rules import collect_rules, goal_rule
from pants.option.option_types import BoolOption, StrListOption
from pants.util.docutil import bin_name
from pants.util.strutil import softwrap

from pants_backend_nix.engine import implicitly
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.locks.bases import LockBasesRequest, lock_base_images
from pants_backend_nix.rules.locks.flakes import LockFlakesRequest, lock_flakes
from pants_backend_nix.rules.locks.locked_file import LockChoice, LockedFile


class NixLockSubsystem(GoalSubsystem):
    name = "nix-lock"
    help = softwrap(
        f"""
        Update the lock files of the targets, and show what moved: the `flake.lock` of each flake, beside its
        `flake.nix`, and the lock file of each `oci_base_image` that names a tag and no digest.

        The flakes are those of `nix_source`, `nix_sources` and `nix_package` targets: their own `flake.nix`, or else
        the ones that they depend on directly. Nix sees the files of their dependencies, as in an evaluation; but it
        may look at registries, branches and the network, with your access tokens, and does so in each run.

            {bin_name()} nix-lock ::
            {bin_name()} nix-lock --nix-lock-inputs=nixpkgs app:flake
            {bin_name()} nix-lock --nix-lock-keep app:flake

        Base images are the targets themselves, or those that the targets depend on directly. Registries are asked as
        `publish` asks them.
        """
    )

    inputs = StrListOption(
        default=[],
        metavar="<name>",
        help=softwrap(
            """
            Update only these inputs of flakes, such as `nixpkgs`, or `tools/nixpkgs` for an input of the input
            `tools`, and base images with these target names. All
            others keep what they are locked to; inputs that are not locked at all are added. By default all inputs
            are updated.
            """
        ),
    )
    keep = BoolOption(
        default=False,
        help="Update nothing: lock only those inputs that the lock file lacks, or has otherwise than the flake.",
    )
    check = BoolOption(
        default=False,
        help=softwrap(
            """
            Write nothing, and exit with status 1 if a lock file lacks something that its flake has: if
            `--nix-lock-keep` would change it.
            """
        ),
    )


class NixLock(Goal):
    subsystem_cls = NixLockSubsystem
    environment_behavior = Goal.EnvironmentBehavior.LOCAL_ONLY


def _choice(options: NixLockSubsystem) -> LockChoice:
    """:raises NixImageError: options contradict each other."""
    inputs = tuple(dict.fromkeys(options.inputs))
    others = [
        f"`--nix-lock-{name}`" for name in ("keep", "check") if getattr(options, name) and inputs
    ]
    if others:
        raise NixImageError(
            f"`--nix-lock-inputs` updates inputs, and {' and '.join(others)} updates none. Leave one of them out."
        )
    return LockChoice(inputs, options.keep or options.check)


def _check_inputs(files: tuple[LockedFile, ...], inputs: tuple[str, ...]) -> None:
    """:raises NixImageError: an input is chosen that no file has."""
    known = {name for file in files for name in file.names}
    unknown = [name for name in inputs if name not in known]
    if unknown and not any(file.error for file in files):
        raise NixImageError(
            f"`--nix-lock-inputs` names {', '.join(unknown)}, which is no input of "
            f"{', '.join(file.path for file in files)}. There are: {', '.join(sorted(known)) or 'none'}."
        )


def _write(file: LockedFile, content: bytes) -> str:
    """Writes a file as a whole or not at all, which Pants does not promise; returns why it could not be."""
    try:
        with replace_file(os.path.join(get_buildroot(), file.path)) as output:
            output.write(content)
    except OutputError as error:
        return f"{file.target}: {error}"
    return ""


def _report(file: LockedFile, *, check: bool) -> str:
    """Returns what is said of a file, in lines."""
    lines = [f"  {move}" for move in file.moves]
    if file.content is None and not file.names:
        head = f"{file.path}: not needed, as there are no inputs"
    elif file.content is None:
        head = f"{file.path}: nothing moved"
    elif check:
        head = f"{file.path}: outdated; run `{bin_name()} nix-lock --nix-lock-keep {file.target}`"
    elif file.moves:
        head = f"{file.path}:"
    else:
        head = f"{file.path}: nothing moved, and Nix wrote it in another form"
    return "\n".join([head, *lines, ""])


@goal_rule
async def nix_lock(
    addresses: Addresses, options: NixLockSubsystem, console: Console
) -> NixLock:
    choice = _choice(options)
    session = await current_session(CurrentSessionRequest(), **implicitly())
    flakes = await lock_flakes(LockFlakesRequest(addresses, choice, session.id), **implicitly())
    bases = await lock_base_images(
        LockBasesRequest(addresses, choice, session.id), **implicitly()
    )
    files = (*flakes.files, *bases.files)
    if not files:
        raise NixImageError(
            f"`{bin_name()} nix-lock` updates the lock files of flakes and of `oci_base_image` targets without `digest`, "
            "and no target that you named is one or depends on one directly. "
            f"`{bin_name()} tailor ::` makes targets for flakes."
        )
    _check_inputs(files, choice.inputs)
    failed = False
    for file in files:
        error = file.error
        if choice.inputs and not error and file.names.isdisjoint(choice.inputs):
            console.print_stdout(f"{file.path}: has none of the inputs")
            continue
        if file.content is not None and not options.check:
            error = _write(file, file.content)
        if error:
            console.print_stderr(f"{console.sigil_failed()} {error}\n")
        else:
            console.write_stdout(_report(file, check=options.check))
            for note in file.notes:
                console.print_stderr(note)
        failed = failed or bool(error) or (options.check and file.content is not None)
    return NixLock(exit_code=int(failed))


def rules():
    return collect_rules()
