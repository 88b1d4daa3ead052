"""A program and files → what it printed, and what it made of the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

from nixoci.errors import printable_lines
from nixoci.json_input import get_field, parse_object
from nixoci.json_output import canonical_json
from pants.engine.fs import EMPTY_DIGEST, Digest, FileContent
from pants.engine.rules import collect_rules
from pants.util.strutil import pluralize

from pants_backend_nix.engine import create, implicitly, merge, prefix, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.lint.program import Program
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step

#: The directory with the files in the sandbox.
_FILES = "files"

#: A configuration file of the tool, beside that.
_CONFIG = "config"


def config_path() -> str:
    """Returns how the program is told of its configuration file."""
    return f"../{_CONFIG}"


@dataclass(frozen=True)
class ToolRun:
    """:param arguments: of the program, which runs in the directory that has the files.
    :param files: a tree.
    :param edits: it changes files.
    :param config: contents of a configuration file, see `config_path`.
    """

    program: Program
    arguments: tuple[str, ...]
    files: Digest
    count: int = field(compare=False)
    edits: bool = False
    config: bytes = b""


@dataclass(frozen=True)
class ToolResult:
    """:param status: of the program.
    :param files: what it made of them; empty if it does not edit.
    """

    status: int
    stdout: str
    stderr: str
    files: Digest = EMPTY_DIGEST

    @property
    def printed(self) -> str:
        return "\n".join(text.strip() for text in (self.stderr, self.stdout) if text.strip())


def file_arguments(files: Sequence[str]) -> tuple[str, ...]:
    """Returns files as arguments that no program takes for options."""
    return tuple(f"./{name}" if name.startswith("-") else name for name in files)


@rule
async def run_tool(request: ToolRun) -> ToolResult:
    program = request.program
    document = {
        "places": program.places,
        "in_store": program.package is not None,
        "arguments": request.arguments,
        "directory": _FILES,
        # It is read by nobody, and makes the run of another version another one.
        "identity": program.identity,
    }
    inputs = await create(
        [
            FileContent("run.json", canonical_json("run of a program", document)),
            FileContent(_CONFIG, request.config),
        ]
    )
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("run-program", "--output=report.json", "run.json"),
                f"Run {program.tool} on {pluralize(request.count, 'Nix file')}",
                await merge((inputs, await prefix(request.files, _FILES))),
                output="report.json",
                directory=_FILES if request.edits else None,
                needs_nix=program.package is not None,
            ),
            () if program.package is None else (program.package,),
            ("ProgramMissingError", "ProgramNotStartedError"),
        ),
        **implicitly(),
    )
    if step.error and program.package is not None:
        raise NixImageError(
            f"The option `[{program.tool}].package` names {program.package.address}: {step.error} Its "
            f"`outputs` must have `bin/NAME`, where `[{program.tool}].program` is NAME, for the system of this machine."
        )
    if step.error:
        raise NixImageError(f"{step.error} Correct the option `[{program.tool}].program`.")
    report = parse_object("report of a program", step.output)
    return ToolResult(
        get_field(report, "status", int),
        printable_lines(get_field(report, "stdout", str)),
        printable_lines(get_field(report, "stderr", str)),
        step.directory,
    )


def rules():
    return collect_rules()
