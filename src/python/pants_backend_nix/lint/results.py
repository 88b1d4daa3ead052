"""What a program made of files → the results that goals of Pants ask for."""

from __future__ import annotations

from typing import Any, Iterable

from pants.core.goals.fix import FixResult
from pants.core.goals.lint import AbstractLintRequest, LintResult
from pants.engine.fs import Snapshot
from pants.engine.unions import UnionRule
from pants.util.strutil import pluralize

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.lint.run import ToolResult


def edited(tool: str, before: Snapshot, result: ToolResult, after: Snapshot) -> FixResult:
    """Returns the result of a run that changed files."""
    return FixResult(before, after, result.stdout, result.stderr, tool)


def linted(tool: str, result: ToolResult) -> LintResult:
    """Returns the result of a run that found fault with files or did not."""
    return LintResult(result.status or int(_has_failed(result)), result.stdout, result.stderr, tool)


def check_edit(tool: str, count: int, result: ToolResult, *, is_silent: bool = False) -> None:
    """:param is_silent: its status does not say that it failed, see `_has_failed`.
    :raises NixImageError: it failed; no file is changed then.
    """
    if result.status or (is_silent and _has_failed(result)):
        raise NixImageError(
            f"{tool} failed on {pluralize(count, 'file')} (exit status {result.status}). Fix what it says, or set "
            f"`skip_{tool}=True` on the targets that it is no use for:\n\n{result.printed}"
        )


def _has_failed(result: ToolResult) -> bool:
    """Tells whether statix or deadnix could not read something.

    They say so on standard error, go on, and exit as if nothing had been. Warnings are those of Nix, which starts
    programs of a chroot store.
    """
    lines = result.stderr.splitlines()
    return any(line.strip() and not line.startswith("warning:") for line in lines)


def without_lint(rules: Iterable[Any]) -> list[Any]:
    """Returns the rules of a fixer without those by which `lint` runs it: the tool has a linter for that."""
    bases = (AbstractLintRequest, AbstractLintRequest.Batch)
    return [r for r in rules if not (isinstance(r, UnionRule) and r.union_base in bases)]
