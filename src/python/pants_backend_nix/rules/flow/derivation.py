"""Evaluation → derivation: looked up for each attribute, evaluated for all of one file that are missing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Optional

from nixoci.batch.answers import EVALUATION
from nixoci.json_output import canonical_json
from nixoci.store.evaluate import Derivation
from pants.engine.addresses import Address
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import EnvironmentNameRequest, create, implicitly, merge, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.answers import Question, look_up
from pants_backend_nix.rules.core.batches import BATCHES, UNDER_WAY, named
from pants_backend_nix.rules.core.place import PlaceRequest, find_place
from pants_backend_nix.rules.core.report import ReportOfMany
from pants_backend_nix.rules.core.run import CoreRun, run_core
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.core.waiting import wait_for_others
from pants_backend_nix.rules.core.zipapp import pack_zipapp
from pants_backend_nix.targets.evaluated import Evaluation


@dataclass(frozen=True)
class DerivationRequest:
    """Asks what an attribute evaluates to.

    :param address: of a package that has the attribute, for descriptions.
    :param environment: in which it is evaluated.
    :param outputs: names of those whose closures will be asked for; none for the default one.
    """

    evaluation: Evaluation
    address: Address = field(compare=False)
    environment: EnvironmentNameRequest
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluatedDerivation:
    """What an attribute evaluates to.

    :param derivation: None if it could not be evaluated.
    :param error: what the core reports of that, and `stderr`.
    :param is_missing: it was evaluated just now, and an output was not valid.
    :param is_unkept: it was evaluated just now, and no cache has the answer yet, see `keep_answers`.
    """

    derivation: Optional[Derivation]
    error: FrozenDict[str, Any] = FrozenDict()
    stderr: str = ""
    is_missing: bool = False
    is_unkept: bool = False


@dataclass(frozen=True)
class EvaluationBatchRequest:
    """Asks for attributes of one file to be evaluated.

    :param file: one of the evaluations; the attribute is left out.
    :param number: of the batch of this session that has the others.
    """

    file: Evaluation
    session: int
    number: int


@dataclass(frozen=True)
class EvaluatedBatch:
    """:param report: failures, and whose outputs are not valid, by key of the answer."""

    report: ReportOfMany
    stderr: str = ""


def evaluation_question(evaluation: Evaluation, address: Address) -> Question:
    """Returns the question that the derivation is an answer to.

    :param address: of a package that has the attribute, for descriptions.
    """
    sources = evaluation.sources
    return Question(
        EVALUATION,
        (sources.fingerprint, sources.serialized_bytes_length, *evaluation.options),
        f"Look up the evaluation of {address}",
    )


@rule(desc="Evaluate Nix packages")
async def evaluate_batch(request: EvaluationBatchRequest) -> EvaluatedBatch:
    zipapp = await pack_zipapp(**implicitly())
    place = await find_place(PlaceRequest(), **implicitly())
    await wait_for_others(request.session, request.file, request.number, place)
    members: dict[str, DerivationRequest] = BATCHES.close(
        request.session, request.file, request.number
    )
    document = {
        "program": zipapp.digest.fingerprint,
        "attributes": {
            member.evaluation.attr: {"key": key, "outputs": member.outputs}
            for key, member in members.items()
        },
    }
    digest = await create([FileContent("request.json", canonical_json("request", document))])
    result = await run_core(
        CoreRun(
            (
                *("evaluate-many", *request.file.options),
                *("--output=failures.json", "request.json"),
            ),
            description=named("Evaluate", [member.address.spec for member in members.values()]),
            input_digest=await merge((request.file.sources, digest)),
            output="failures.json",
            session=request.session,
        ),
        **implicitly(),
    )
    if result.output is None:
        failures = FrozenDict({key: result.error for key in members})
        return EvaluatedBatch(ReportOfMany(failures), result.stderr)
    return EvaluatedBatch(ReportOfMany.parse(result.output))


async def _evaluate_elsewhere(request: DerivationRequest) -> EvaluatedDerivation:
    """Workers keep no answers, so each attribute is evaluated by a process of its own."""
    evaluation = request.evaluation
    result = await run_core(
        CoreRun(
            ("evaluate", *evaluation.options, "--output=derivation.json"),
            description=f"Evaluate {request.address}",
            input_digest=evaluation.sources,
            output="derivation.json",
            environment=request.environment,
        ),
        **implicitly(),
    )
    if result.output is None:
        return EvaluatedDerivation(None, result.error, result.stderr)
    return EvaluatedDerivation(Derivation.from_json(result.output))


@rule
async def find_derivation(request: DerivationRequest) -> EvaluatedDerivation:
    place = await find_place(PlaceRequest(request.environment), **implicitly())
    if place.elsewhere:
        return await _evaluate_elsewhere(request)
    evaluation = request.evaluation
    question = evaluation_question(evaluation, request.address)
    file = replace(evaluation, attr="")
    with UNDER_WAY:
        answer = await look_up(question, **implicitly())
        if answer.content is None:
            session = await current_session(CurrentSessionRequest(), **implicitly())
            number = BATCHES.join(session.id, file, answer.key, request)
    content, is_missing, is_unkept = answer.content, False, False
    if content is None:
        # While one evaluator is at work, those who come get into the next batch.
        for earlier in range(number + 1):
            batch = await evaluate_batch(
                EvaluationBatchRequest(file, session.id, earlier), **implicitly()
            )
            report = batch.report
            if answer.key in report.failures:
                return EvaluatedDerivation(None, report.failures[answer.key], batch.stderr)
            is_missing = is_missing or answer.key in report.missing
            content = report.answers.get(answer.key, content)
        is_unkept = content is not None
        if content is None:
            answer = await look_up(replace(question, attempt=1), **implicitly())
            content = answer.content
    if content is None:
        raise NixImageError(
            f"{request.address}: what it evaluates to was worked out, and is gone before it was read. Is the "
            "directory `[GLOBAL].named_caches_dir` being emptied at the same time?"
        )
    return EvaluatedDerivation(
        Derivation.from_json(content), is_missing=is_missing, is_unkept=is_unkept
    )


def rules():
    return collect_rules()
