"""Derivation → closure graph of its outputs: looked up for each package, queried for all that are missing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Iterable

from nixoci.batch.answers import CLOSURE
from nixoci.json_output import canonical_json
from nixoci.store.closure import ClosureGraph
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import concurrently, create, implicitly, rule
from pants_backend_nix.errors import explain_step_error
from pants_backend_nix.rules.core.answers import (
    Answer,
    KeepRequest,
    Question,
    keep_answers,
    look_up,
)
from pants_backend_nix.rules.core.batches import BATCHES, UNDER_WAY, named
from pants_backend_nix.rules.core.place import PlaceRequest, find_place
from pants_backend_nix.rules.core.report import ReportOfMany
from pants_backend_nix.rules.core.run import CoreRun, run_core
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.core.step import (
    RealiseRequest,
    StoreStep,
    realise_package,
    run_store_step,
)
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.rules.core.waiting import wait_for_others
from pants_backend_nix.rules.flow.derivation import evaluation_question
from pants_backend_nix.targets.evaluated import NixPackage


@dataclass(frozen=True)
class ClosureRequest:
    """Asks what the outputs of a package reference."""

    package: NixPackage
    view: StoreView = StoreView()


@dataclass(frozen=True)
class Closure:
    """:param graph: the outputs that were asked for, and all that they reference.
    :param is_unkept: as in `NixPackage`.
    """

    graph: ClosureGraph
    is_unkept: bool = field(default=False, compare=False)


def unkept_answers(
    packages: Iterable[NixPackage], closures: Iterable[Closure] = ()
) -> tuple[Question, ...]:
    """Returns the questions about packages whose answers were told, and are in no cache yet.

    Whoever does something with the packages has them kept beside that, with `keep_answers`.

    :param closures: of the packages, as far as they were asked for.
    """
    packages = tuple(packages)
    evaluated = (
        evaluation_question(package.evaluation, package.address)
        for package in packages
        if package.is_unkept and package.evaluation is not None
    )
    queried = (_question(p) for p, closure in zip(packages, closures) if closure.is_unkept)
    return (*evaluated, *queried)


def _question(package: NixPackage) -> Question:
    return Question(
        CLOSURE, tuple(sorted(package.paths)), f"Look up the closure of {package.address}"
    )


@dataclass(frozen=True)
class ClosureBatchRequest:
    """Asks for closures to be queried.

    :param number: of the batch of this session.
    """

    session: int
    number: int


@dataclass(frozen=True)
class ClosureBatch:
    """:param report: the keys of answers that there are none to, as a store path is not valid, are `missing`."""

    report: ReportOfMany


@rule(desc="Query closures of Nix packages")
async def query_batch(request: ClosureBatchRequest) -> ClosureBatch:
    place = await find_place(PlaceRequest(), **implicitly())
    await wait_for_others(request.session, CLOSURE, request.number, place)
    members: dict[str, NixPackage] = BATCHES.close(request.session, CLOSURE, request.number)
    paths = {key: sorted(package.paths) for key, package in members.items()}
    addresses = [package.address for package in members.values()]
    what = named("Query closure of", [address.spec for address in addresses])
    result = await run_core(
        CoreRun(
            ("closures", "--output=result.json", "request.json"),
            description=what,
            input_digest=await create(
                [FileContent("request.json", canonical_json("request", paths))]
            ),
            output="result.json",
            session=request.session,
        ),
        **implicitly(),
    )
    if result.output is None:
        raise explain_step_error(result.error, result.stderr, what, addresses)
    return ClosureBatch(ReportOfMany.parse(result.output))


async def _query_at_once(request: ClosureRequest) -> Closure:
    """By a process of this package alone: workers keep no answers, and neither does what has to be asked anew."""
    package = request.package
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("closure", "--output=closure.json", *sorted(package.paths)),
                f"Query closure of {package.address}",
                output="closure.json",
                session=request.view.session,
                environment=request.view.place(package.environment),
            ),
            (package,),
        ),
        **implicitly(),
    )
    return Closure(ClosureGraph.from_json(step.output))


@rule(desc="Query closure of Nix package")
async def query_closure(request: ClosureRequest) -> Closure:
    package, view = request.package, request.view
    environment = view.place(package.environment)
    place = await find_place(PlaceRequest(environment), **implicitly())
    if view.session is not None or place.elsewhere:
        return await _query_at_once(request)
    question = _question(package)
    # Asked also if an output is known to be missing: caches know closures of what this store never had.
    is_valid = not package.is_missing
    with UNDER_WAY:
        answer: Answer = await look_up(question, **implicitly())
        if answer.content is None:
            session = await current_session(CurrentSessionRequest(), **implicitly())
            if is_valid:
                number = BATCHES.join(session.id, CLOSURE, answer.key, package)
    content, is_unkept = answer.content, False
    if content is None:
        if is_valid:
            # As for evaluations, see `find_derivation`.
            for earlier in range(number + 1):
                batch = await query_batch(
                    ClosureBatchRequest(session.id, earlier), **implicitly()
                )
                is_valid = is_valid and answer.key not in batch.report.missing
                content = batch.report.answers.get(answer.key, content)
        if not is_valid:
            # This leaves the closure as well. It takes longest of all, so what was evaluated is kept meanwhile.
            realised, _ = await concurrently(
                (
                    realise_package(
                        RealiseRequest(package, session.id, environment), **implicitly()
                    ),
                    keep_answers(KeepRequest(unkept_answers([package])), **implicitly()),
                )
            )
            content = realised.answers.get(answer.key)
        is_unkept = content is not None
        if content is None:
            answer = await look_up(replace(question, attempt=1), **implicitly())
            content = answer.content
    if content is None:
        # Who builds says nothing of a query that fails, which may have been busy; if it fails again, its error is told.
        return await _query_at_once(request)
    return Closure(ClosureGraph.from_json(content), is_unkept)


def rules():
    return collect_rules()
