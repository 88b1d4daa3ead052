"""Tests of `nixoci.registry.progress`."""

from __future__ import annotations

import io

from nixoci.registry.progress import LineProgress, TerminalProgress, progress_for
from nixoci.registry.push_result import MOUNTED, PRESENT, UPLOADED, PushedBlob


def blob(outcome: str) -> PushedBlob:
    source = "host/b" if outcome == MOUNTED else None
    return PushedBlob("host/a", "sha256:0", 1_500_000, outcome, source)


def test_a_terminal_has_one_line() -> None:
    """It counts what is sent or mounted, takes back what starts again, and is gone in the end."""
    output = io.StringIO()
    progress = TerminalProgress(output)
    progress.expect(2, 3_000_000)
    progress.advance(1_500_000)
    progress.advance(-1_500_000)
    progress.advance(1_500_000)
    progress.done(blob(UPLOADED))
    progress.done(blob(PRESENT))
    progress.done(blob(MOUNTED))
    lines = output.getvalue().split("\r\x1b[K")
    assert lines[1] == "0 of 2 layers, 0.0 MB of 3.0 MB"
    assert lines[-1] == "2 of 2 layers, 3.0 MB of 3.0 MB"
    progress.close()
    assert output.getvalue().endswith("\r\x1b[K") and "\n" not in output.getvalue()


def test_other_outputs_have_a_line_a_blob() -> None:
    output = io.StringIO()
    progress = progress_for(output)
    assert isinstance(progress, LineProgress)
    for outcome in (UPLOADED, MOUNTED):
        progress.advance(5)
        progress.done(blob(outcome))
    progress.close()
    assert output.getvalue().splitlines() == [
        "host/a: sha256:0 1.5 MB uploaded",
        "host/a: sha256:0 1.5 MB mounted from host/b",
    ]
