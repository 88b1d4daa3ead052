"""`lint` and `fix` with statix, which takes one file or directory: the directory that has the files and no others."""

from __future__ import annotations

from dataclasses import dataclass

from pants.base.glob_match_error_behavior import GlobMatchErrorBehavior
from pants.core.goals.fix import FixResult, FixTargetsRequest
from pants.core.goals.lint import LintResult, LintTargetsRequest
from pants.core.util_rules.partitions import Partitions
from pants.engine.fs import PathGlobs
from pants.engine.rules import collect_rules
from pants.engine.target import SourcesField
from pants.util.logging import LogLevel

from pants_backend_nix.engine import (
    contents,
    files_matching,
    implicitly,
    rule,
    snapshot_of,
)
from pants_backend_nix.lint.files import NixFilesFieldSet, ToolFilesRequest, find_tool_files
from pants_backend_nix.lint.results import check_edit, edited, linted, without_lint
from pants_backend_nix.lint.run import ToolRun, config_path, run_tool
from pants_backend_nix.statix.skip_field import SkipStatixField
from pants_backend_nix.statix.subsystem import Statix

_CONFIG = "statix.toml"


@dataclass(frozen=True)
class StatixFieldSet(NixFilesFieldSet):
    required_fields = (SkipStatixField, SourcesField)

    skip: SkipStatixField


class StatixLintRequest(LintTargetsRequest):
    field_set_type = StatixFieldSet
    tool_subsystem = Statix


class StatixFixRequest(FixTargetsRequest):
    field_set_type = StatixFieldSet
    tool_subsystem = Statix


@rule
async def partition_statix_lint(
    request: StatixLintRequest.PartitionRequest, statix: Statix
) -> Partitions:
    if statix.skip:
        return Partitions()
    found = await find_tool_files(
        ToolFilesRequest.of(statix.tool, request.field_sets), **implicitly()
    )
    return found.partitions


@rule
async def partition_statix_fix(
    request: StatixFixRequest.PartitionRequest, statix: Statix
) -> Partitions:
    if statix.skip or not statix.fix:
        return Partitions()
    found = await find_tool_files(
        ToolFilesRequest.of(statix.tool, request.field_sets), **implicitly()
    )
    return found.partitions


async def _config(statix: Statix) -> bytes:
    """Returns what the configuration file has. Without one, an empty one keeps statix from looking further up."""
    path = statix.config
    globs = PathGlobs((_CONFIG,))
    if path:
        globs = PathGlobs(
            (path,),
            glob_match_error_behavior=GlobMatchErrorBehavior.error,
            description_of_origin="the option `[statix].config`",
        )
    files = await contents(await files_matching(globs))
    return files[0].content if files else b""


@rule(desc="Lint with statix", level=LogLevel.DEBUG)
async def lint_with_statix(request: StatixLintRequest.Batch, statix: Statix) -> LintResult:
    result = await run_tool(
        ToolRun(
            request.partition_metadata,
            ("check", "--config", config_path(), *statix.args, "."),
            await files_matching(PathGlobs(request.elements)),
            len(request.elements),
            config=await _config(statix),
        ),
        **implicitly(),
    )
    return linted("statix", result)


@rule(desc="Fix with statix", level=LogLevel.DEBUG)
async def fix_with_statix(request: StatixFixRequest.Batch, statix: Statix) -> FixResult:
    result = await run_tool(
        ToolRun(
            request.partition_metadata,
            ("fix", "--config", config_path(), *statix.args, "."),
            request.snapshot.digest,
            len(request.files),
            edits=True,
            config=await _config(statix),
        ),
        **implicitly(),
    )
    check_edit("statix", len(request.files), result, is_silent=True)
    return edited("statix", request.snapshot, result, await snapshot_of(result.files))


def rules():
    return [
        *collect_rules(),
        *StatixLintRequest.rules(),
        *without_lint(StatixFixRequest.rules()),
    ]
