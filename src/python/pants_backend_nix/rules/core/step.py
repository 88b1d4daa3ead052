"""Steps that read store paths: cached by what they read, realised only when they have to run.

A step that finds a path not valid says so with an exit status of its own, which no cache keeps. The
packages are realised then, each once in a session, and the step runs again under the same key.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Hashable

from nixoci.cli.exit_status import EXIT_NOT_VALID
from nixoci.json_output import canonical_json
from pants.base.build_environment import get_buildroot
from pants.engine.addresses import Address
from pants.engine.fs import EMPTY_DIGEST, Digest, FileContent
from pants.engine.rules import collect_rules
from pants.option.global_options import GlobalOptions
from pants.util.dirutil import fast_relpath_optional
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    concurrently,
    create,
    implicitly,
    merge,
    rule,
)
from pants_backend_nix.engine import (
    prefix as prefixed_tree,
)
from pants_backend_nix.errors import explain_package_error, explain_step_error
from pants_backend_nix.progress import logged_progress
from pants_backend_nix.rules.core.batches import BATCHES, UNDER_WAY, named
from pants_backend_nix.rules.core.place import PlaceRequest, find_place
from pants_backend_nix.rules.core.report import ReportOfMany
from pants_backend_nix.rules.core.run import CoreResult, CoreRun, run_core
from pants_backend_nix.rules.core.session import (
    CurrentSessionRequest,
    current_session,
)
from pants_backend_nix.rules.core.waiting import wait_for_others
from pants_backend_nix.rules.core.zipapp import pack_zipapp
from pants_backend_nix.targets.evaluated import NixPackage


def build_log(address: Address, global_options: GlobalOptions) -> str:
    """Returns the file that gets the log when the package at `address` is built."""
    return _log(address.path_safe_spec, global_options)


def _log(name: str, global_options: GlobalOptions) -> str:
    return os.path.join(global_options.pants_workdir, "nix", f"{name}.log")


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
    """Says that they are.

    :param answers: as in `ReportOfMany`: closures of what was built, of these and other packages.
    """

    answers: FrozenDict[str, bytes] = FrozenDict()


@dataclass(frozen=True)
class RealiseBatchRequest:
    """Asks for packages to be valid, by one call of Nix.

    :param number: of the batch of this session and environment.
    :param alone: the key of a package that is built by itself, as workers are many; empty on this machine.
    """

    session: int
    environment: EnvironmentNameRequest
    number: int = 0
    alone: str = ""


@dataclass(frozen=True)
class RealisedBatch:
    """:param report: of the core.
    :param log: the file that has what Nix said, for an error.
    """

    report: ReportOfMany
    stderr: str
    log: str


def _group(request: RealiseBatchRequest) -> Hashable:
    return ("realise", request.environment, request.alone)


def _document(key: str, package: NixPackage, directory: str) -> dict[str, object]:
    """Returns how the core is told of a package."""
    document: dict[str, object] = {
        "key": key,
        "derivation": package.derivation.to_json().decode(),
        "outputs": package.outputs,
    }
    if package.evaluation is not None:
        document["evaluation"] = package.evaluation.attribute(directory).to_document()
    return document


@rule(desc="Build Nix packages")
async def realise_batch(
    request: RealiseBatchRequest, global_options: GlobalOptions
) -> RealisedBatch:
    place = await find_place(PlaceRequest(request.environment), **implicitly())
    if not request.alone:
        await wait_for_others(request.session, _group(request), request.number, place)
    packages: dict[str, NixPackage] = BATCHES.close(
        request.session, _group(request), request.number
    )
    # Nix names a source tree after its directory, so each has its own above that.
    trees = list(
        dict.fromkeys(
            p.evaluation.sources for p in packages.values() if p.evaluation is not None
        )
    )
    documents = [
        _document(
            key,
            package,
            str(trees.index(package.evaluation.sources)) if package.evaluation else "",
        )
        for key, package in packages.items()
    ]
    arguments = ["realise-many", "--output=failures.json"]
    addresses = sorted(package.address.spec for package in packages.values())
    description = named("Build", addresses)
    program, shown_log, progress = None, "", ""
    if not place.elsewhere:
        zipapp = await pack_zipapp(**implicitly())
        program = zipapp.digest.fingerprint
        first = min(package.address for package in packages.values())
        more = len(packages) - 1
        log = _log(first.path_safe_spec + (f"+{more}" if more else ""), global_options)
        shown_log = fast_relpath_optional(log, get_buildroot()) or log
        progress = f"{log}.progress"
        arguments += [f"--log={log}", f"--progress={progress}"]
        description += f" (log: {shown_log})"
    content = canonical_json("request", {"packages": documents, "program": program})
    prefixed = await concurrently(
        prefixed_tree(tree, str(number)) for number, tree in enumerate(trees)
    )
    run = CoreRun(
        (*arguments, "request.json"),
        description=description,
        input_digest=await merge((await create([FileContent("request.json", content)]), *prefixed)),
        output="failures.json",
        session=request.session,
        environment=request.environment,
    )
    with logged_progress(progress):
        result = await run_core(run, **implicitly())
    if result.output is None:
        report = ReportOfMany(FrozenDict({key: result.error for key in packages}))
    else:
        report = ReportOfMany.parse(result.output)
    return RealisedBatch(report, result.stderr, shown_log)


@rule
async def realise_package(request: RealiseRequest) -> Realised:
    package = request.package
    key = hashlib.sha256(
        canonical_json(
            "package", [package.derivation.to_json().decode(), package.outputs, package.address.spec]
        )
    ).hexdigest()
    place = await find_place(PlaceRequest(request.environment), **implicitly())
    batch = RealiseBatchRequest(
        request.session, request.environment, alone=key if place.elsewhere else ""
    )
    number = BATCHES.join(request.session, _group(batch), key, package)
    done = await realise_batch(replace(batch, number=number), **implicitly())
    failures = done.report.failures
    if key in failures:
        source, attr = (
            (package.evaluation.source, package.evaluation.attr)
            if package.evaluation
            else (package.path(), "")
        )
        raise explain_package_error(
            failures[key], done.stderr, package.address, source, attr, done.log
        )
    return Realised(done.report.answers)


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
    with UNDER_WAY:
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
