"""`lint` and `fix` with deadnix."""

from __future__ import annotations

from dataclasses import dataclass

from pants.core.goals.fix import FixResult, FixTargetsRequest
from pants.core.goals.lint import LintResult, LintTargetsRequest
from pants.core.util_rules.partitions import Partitions
from pants.engine.fs import PathGlobs
from pants.engine.rules import collect_rules
from pants.engine.target import SourcesField
from pants.util.logging import LogLevel

from pants_backend_nix.deadnix.skip_field import SkipDeadnixField
from pants_backend_nix.deadnix.subsystem import Deadnix
from pants_backend_nix.engine import files_matching, implicitly, rule, snapshot_of
from pants_backend_nix.lint.files import NixFilesFieldSet, ToolFilesRequest, find_tool_files
from pants_backend_nix.lint.results import check_edit, edited, linted, without_lint
from pants_backend_nix.lint.run import ToolRun, file_arguments, run_tool


@dataclass(frozen=True)
class DeadnixFieldSet(NixFilesFieldSet):
    required_fields = (SkipDeadnixField, SourcesField)

    skip: SkipDeadnixField


class DeadnixLintRequest(LintTargetsRequest):
    field_set_type = DeadnixFieldSet
    tool_subsystem = Deadnix


class DeadnixFixRequest(FixTargetsRequest):
    field_set_type = DeadnixFieldSet
    tool_subsystem = Deadnix


@rule
async def partition_deadnix_lint(
    request: DeadnixLintRequest.PartitionRequest, deadnix: Deadnix
) -> Partitions:
    if deadnix.skip:
        return Partitions()
    found = await find_tool_files(
        ToolFilesRequest.of(deadnix.tool, request.field_sets), **implicitly()
    )
    return found.partitions


@rule
async def partition_deadnix_fix(
    request: DeadnixFixRequest.PartitionRequest, deadnix: Deadnix
) -> Partitions:
    if deadnix.skip or not deadnix.fix:
        return Partitions()
    found = await find_tool_files(
        ToolFilesRequest.of(deadnix.tool, request.field_sets), **implicitly()
    )
    return found.partitions


@rule(desc="Lint with deadnix", level=LogLevel.DEBUG)
async def lint_with_deadnix(request: DeadnixLintRequest.Batch, deadnix: Deadnix) -> LintResult:
    result = await run_tool(
        ToolRun(
            request.partition_metadata,
            ("--fail", *deadnix.args, *file_arguments(request.elements)),
            await files_matching(PathGlobs(request.elements)),
            len(request.elements),
        ),
        **implicitly(),
    )
    return linted("deadnix", result)


@rule(desc="Fix with deadnix", level=LogLevel.DEBUG)
async def fix_with_deadnix(request: DeadnixFixRequest.Batch, deadnix: Deadnix) -> FixResult:
    result = await run_tool(
        ToolRun(
            request.partition_metadata,
            ("--edit", "--quiet", *deadnix.args, *file_arguments(request.files)),
            request.snapshot.digest,
            len(request.files),
            edits=True,
        ),
        **implicitly(),
    )
    check_edit("deadnix", len(request.files), result, is_silent=True)
    return edited("deadnix", request.snapshot, result, await snapshot_of(result.files))


def rules():
    return [
        *collect_rules(),
        *DeadnixLintRequest.rules(),
        *without_lint(DeadnixFixRequest.rules()),
    ]
