"""Steps that read store paths: cached by what they read, realised only when they have to run.

A step that finds a path not valid says so with an exit status of its own, which no cache keeps. The
packages are realised then, each once in a session, and the step runs again under the same key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from nixoci.cli.exit_status import EXIT_NOT_VALID
from pants.base.build_environment import get_buildroot
from pants.engine.addresses import Address
from pants.engine.fs import EMPTY_DIGEST, Digest, FileContent
from pants.engine.rules import collect_rules
from pants.option.global_options import GlobalOptions
from pants.util.dirutil import fast_relpath_optional

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    concurrently,
    create,
    implicitly,
    merge,
    rule,
)
from pants_backend_nix.errors import explain_package_error, explain_step_error
from pants_backend_nix.rules.core.place import PlaceRequest, find_place
from pants_backend_nix.rules.core.run import CoreResult, CoreRun, run_core
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.targets.evaluated import NixPackage


def build_log(address: Address, global_options: GlobalOptions) -> str:
    """Returns the file that gets the log when the package at `address` is built."""
    return os.path.join(global_options.pants_workdir, "nix", f"{address.path_safe_spec}.log")


@dataclass(frozen=True)
class RealiseRequest:
    """Asks for the outputs of a package to be valid in the store of the step that reads them.

    :param session: in which they are missed. It is a part of the request, and not looked up by the
        rule: Pants checks all that a rule once asked for before it knows whether the rule asks again,
        and what was realised in an earlier session must then be found done.
    :param environment: of that step.
    """

    package: NixPackage
    session: int
    environment: EnvironmentNameRequest = THIS_MACHINE


@dataclass(frozen=True)
class Realised:
    """Says that they are."""


@rule(desc="Build Nix package")
async def realise_package(
    request: RealiseRequest, global_options: GlobalOptions
) -> Realised:
    package = request.package
    place = await find_place(PlaceRequest(request.environment), **implicitly())
    arguments = ["realise", "--derivation=derivation.json"]
    description = f"Build {package.address}"
    shown_log = ""
    if not place.elsewhere:
        log = build_log(package.address, global_options)
        shown_log = fast_relpath_optional(log, get_buildroot()) or log
        arguments.append(f"--log={log}")
        description += f" (log: {shown_log})"
    digest = await create([FileContent("derivation.json", package.derivation.to_json())])
    if package.evaluation is not None:
        arguments.extend(package.evaluation.arguments)
        digest = await merge((digest, package.evaluation.sources))
    result = await run_core(
        CoreRun(
            (*arguments, *package.outputs),
            description=description,
            input_digest=digest,
            session=request.session,
            environment=request.environment,
        ),
        **implicitly(),
    )
    if result.exit_code:
        source, attr = (
            (package.evaluation.source, package.evaluation.attr)
            if package.evaluation
            else (package.path(), "")
        )
        raise explain_package_error(
            result.error, result.stderr, package.address, source, attr, shown_log
        )
    return Realised()


@dataclass(frozen=True)
class StoreStep:
    """A command of the core that reads store paths.

    :param packages: what to realise if a path is not valid. They are no part of the cache key.
    :param expected_errors: names of errors of the core that the caller knows what to do about.
    """

    run: CoreRun
    packages: tuple[NixPackage, ...]
    expected_errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoreStepResult:
    """:param output: contents of the file that the step wrote; empty without one.
    :param kept: and `directory`, as in `CoreResult`.
    :param error: the message of an expected error; then nothing was written.
    """

    output: bytes
    kept: Digest = EMPTY_DIGEST
    directory: Digest = EMPTY_DIGEST
    error: str = ""


@rule
async def run_store_step(step: StoreStep) -> StoreStepResult:
    run = step.run
    result: CoreResult = await run_core(run, **implicitly())
    if result.exit_code == EXIT_NOT_VALID:
        session = await current_session(CurrentSessionRequest(), **implicitly())
        await concurrently(
            realise_package(
                RealiseRequest(package, session.id, run.runs_in), **implicitly()
            )
            for package in step.packages
        )
        result = await run_core(replace(run, attempt=1), **implicitly())
    if result.exit_code and result.error.get("error") in step.expected_errors:
        return StoreStepResult(b"", error=str(result.error.get("message")))
    if result.exit_code:
        place = await find_place(PlaceRequest(run.runs_in, run.needs_nix), **implicitly())
        raise explain_step_error(
            result.error,
            result.stderr,
            run.description,
            [package.address for package in step.packages],
            place.elsewhere,
        )
    return StoreStepResult(result.output or b"", result.kept, result.directory)


def rules():
    return collect_rules()
