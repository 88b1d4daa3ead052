"""The layers of an image, and what a push costs, as text for a terminal."""

from __future__ import annotations

import re
from typing import Callable, Mapping, Optional, Sequence

from nixoci.errors import printable
from nixoci.report.diff import ImageDiff, Kind, PathChange
from nixoci.report.report import ImageReport

#: So many changes are listed; JSON and HTML have all of them.
_LINES = 20

#: Lines of layers that a push uploads, and of those that are gone.
_NEW_LAYER, _GONE_LAYER = re.compile(r" *\d+\+ "), re.compile(r" *\d+- ")

_HEADINGS = ("layer", "size", "paths", "changes in", "per update", "what is in it", "why together")


def layer_table(
    report: ImageReport,
    diff: Optional[ImageDiff] = None,
    *,
    paint_new: Callable[[str], str] = str,
    paint_gone: Callable[[str], str] = str,
) -> str:
    """Returns a table of the layers, their sums and, with a diff, what a push costs and why.

    :param paint_new: gives lines of layers that a push uploads a colour; `paint_gone`, of those that are gone.
    """
    new = {change.number for change in diff.new} if diff else set()
    rows = [
        (
            f"{layer.number}{'+' if layer.number in new else ''}",
            format_bytes(layer.layer.size),
            str(len(layer.paths)) if layer.paths else "-",
            format_share(layer.share),
            format_bytes(layer.expected),
            layer.contents or "-",
            layer.why,
        )
        for layer in report.layers
    ]
    sums = (
        "all",
        format_bytes(report.size),
        str(report.path_count),
        "",
        format_bytes(report.expected),
        "",
        "",
    )
    lines = [
        f"{report.name}{f'  {report.digest}' if report.digest else ''}",
        "",
        *_aligned([_HEADINGS, *rows, sums], right={1, 2, 3, 4}),
        "",
        f"An update is expected to push {format_bytes(report.expected)} of "
        f"{format_bytes(report.size)}; with each store path in a layer of its own it would be "
        f"{format_bytes(report.ideal)}.",
    ]
    if diff:
        lines.extend(("", *_diff_lines(diff)))
    paints = {_NEW_LAYER: paint_new, _GONE_LAYER: paint_gone}
    return "".join(f"{_painted(printable(line), paints)}\n" for line in lines)


def _painted(line: str, paints: Mapping[re.Pattern[str], Callable[[str], str]]) -> str:
    for pattern, paint in paints.items():
        if pattern.match(line):
            return paint(line)
    return line


def format_bytes(size: float) -> str:
    """Returns a size with three digits that count and a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_share(share: float) -> str:
    """Returns a part of all events in percent."""
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def describe_change(change: PathChange) -> str:
    """Returns `name`, or `old name -> new name`, and how it changed."""
    old = change.old.name if change.old else ""
    new = change.path.name if change.path else ""
    names = f"{old} -> {new}" if change.kind is Kind.UPDATED else new or old
    return f"{names} ({change.kind.value})"


def _diff_lines(diff: ImageDiff) -> list[str]:
    if diff.old_digest == diff.new_digest:
        return [f"Nothing to push: the image is still {diff.old_digest}."]
    beside = diff.layer_bytes - diff.changed_bytes
    lines = [
        f"From {diff.old_digest} a push uploads {format_bytes(diff.push_bytes)}: "
        f"{_count(len(diff.new), 'layer')} with {format_bytes(diff.layer_bytes)}, config and manifest. "
        f"{len(diff.kept)} are there already, {len(diff.gone)} of the old ones are gone.",
    ]
    if diff.new:
        lines.append(
            f"Of these layers, {format_bytes(diff.changed_bytes)} are in store paths and files that changed "
            f"and {format_bytes(beside)} in others beside them."
        )
        lines.extend(("", "Layers to push:"))
        rows = [(f"  {c.number}+", format_bytes(c.layer.size), c.why) for c in diff.new]
        lines.extend(_aligned(rows, right={1}))
    if diff.causes:
        lines.extend(("", "What changed, and what else is another path only because of it:"))
        shown = diff.causes[:_LINES]
        rows = [
            (
                f"  {describe_change(cause.change)}",
                f"{cause.followers} more" if cause.followers else "",
                format_bytes(cause.bytes) if cause.change.path else "",
            )
            for cause in shown
        ]
        lines.extend(_aligned(rows, right={1, 2}))
        if len(diff.causes) > len(shown):
            lines.append(f"  and {len(diff.causes) - len(shown)} others; --output=json has them all")
    if diff.gone:
        lines.extend(("", "Layers that are gone:"))
        rows = [(f"  {old.number}-", format_bytes(old.layer.size), old.summary) for old in diff.gone]
        lines.extend(_aligned(rows, right={1}))
    if not diff.new:
        lines.append("No layer changed: config or annotations did.")
    return lines


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
