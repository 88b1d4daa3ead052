"""`fmt`, and `lint` in check mode, with nixfmt."""

from __future__ import annotations

from dataclasses import dataclass

from pants.core.goals.fmt import FmtResult, FmtTargetsRequest
from pants.core.util_rules.partitions import Partitions
from pants.engine.rules import collect_rules
from pants.engine.target import SourcesField
from pants.util.logging import LogLevel

from pants_backend_nix.engine import implicitly, rule, snapshot_of
from pants_backend_nix.lint.files import NixFilesFieldSet, ToolFilesRequest, find_tool_files
from pants_backend_nix.lint.results import check_edit, edited
from pants_backend_nix.lint.run import ToolRun, file_arguments, run_tool
from pants_backend_nix.nixfmt.skip_field import SkipNixfmtField
from pants_backend_nix.nixfmt.subsystem import Nixfmt


@dataclass(frozen=True)
class NixfmtFieldSet(NixFilesFieldSet):
    required_fields = (SkipNixfmtField, SourcesField)

    skip: SkipNixfmtField


class NixfmtRequest(FmtTargetsRequest):
    field_set_type = NixfmtFieldSet
    tool_subsystem = Nixfmt


@rule
async def partition_nixfmt(request: NixfmtRequest.PartitionRequest, nixfmt: Nixfmt) -> Partitions:
    if nixfmt.skip:
        return Partitions()
    found = await find_tool_files(
        ToolFilesRequest.of(nixfmt.tool, request.field_sets), **implicitly()
    )
    return found.partitions


@rule(desc="Format with nixfmt", level=LogLevel.DEBUG)
async def format_with_nixfmt(request: NixfmtRequest.Batch, nixfmt: Nixfmt) -> FmtResult:
    result = await run_tool(
        ToolRun(
            request.partition_metadata,
            (*nixfmt.args, *file_arguments(request.files)),
            request.snapshot.digest,
            len(request.files),
            edits=True,
        ),
        **implicitly(),
    )
    check_edit("nixfmt", len(request.files), result)
    return edited("nixfmt", request.snapshot, result, await snapshot_of(result.files))


def rules():
    return [*collect_rules(), *NixfmtRequest.rules()]
