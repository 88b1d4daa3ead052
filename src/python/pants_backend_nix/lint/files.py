"""Targets → the Nix files that a tool is for, with its program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional

from pants.core.util_rules.partitions import Partition, Partitions
from pants.engine.rules import collect_rules
from pants.engine.target import BoolField, FieldSet, SourcesField, SourcesPathsRequest

from pants_backend_nix.engine import concurrently, implicitly, rule, source_paths_of
from pants_backend_nix.lint.program import Program, ProgramRequest, find_program
from pants_backend_nix.lint.tool import Tool
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.targets.package import NixPackageTarget, NixSourcesTarget, NixSourceTarget

#: Targets that have Nix files.
_TARGETS = (NixSourceTarget, NixSourcesTarget, NixPackageTarget)


class SkipField(BoolField):
    """Base of the field that takes the files of a target from a tool."""

    default = False


@dataclass(frozen=True)
class NixFilesFieldSet(FieldSet):
    """Base of the field set of a tool, which has its field that says so as well."""

    sources: SourcesField
    skip: SkipField


@dataclass(frozen=True)
class ToolFilesRequest:
    """Asks which files a tool is for.

    :param sources: of targets.
    :param skipped: of targets whose files it must leave alone; they may have some of the same.
    """

    tool: Tool
    sources: tuple[SourcesField, ...]
    skipped: tuple[SourcesField, ...]

    @classmethod
    def of(cls, tool: Tool, field_sets: Iterable[NixFilesFieldSet]) -> ToolFilesRequest:
        found = tuple(field_sets)
        return cls(
            tool,
            tuple(fields.sources for fields in found if not fields.skip.value),
            tuple(fields.sources for fields in found if fields.skip.value),
        )


@dataclass(frozen=True)
class ToolFiles:
    """:param program: None if there is none, or no files."""

    files: tuple[str, ...] = ()
    program: Optional[Program] = None

    @property
    def partitions(self) -> Partitions:
        """What the goals of Pants ask for: all files may be in one process."""
        if self.program is None:
            return Partitions()
        return Partitions([Partition(self.files, self.program)])


@rule
async def find_tool_files(request: ToolFilesRequest) -> ToolFiles:
    sources = await concurrently(
        source_paths_of(SourcesPathsRequest(field)) for field in request.sources
    )
    skipped = await concurrently(
        source_paths_of(SourcesPathsRequest(field)) for field in request.skipped
    )
    # A file may be that of a package and of a `nix_source`; lock files and patches are no Nix.
    paths = {path for found in sources for path in found.files if path.endswith(".nix")}
    files = tuple(sorted(paths.difference(*(found.files for found in skipped))))
    if not files:
        return ToolFiles()
    session = await current_session(CurrentSessionRequest(), **implicitly())
    found = await find_program(ProgramRequest(request.tool, session.id), **implicitly())
    return ToolFiles(files, found.program)


def skip_field_rules(field: type[SkipField]):
    """Returns what gives the targets with Nix files that field."""
    return [target.register_plugin_field(field) for target in _TARGETS]


def rules():
    return collect_rules()
