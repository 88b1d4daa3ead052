"""Tests of `nixoci.registry.progress`."""

from __future__ import annotations

import io

import pytest
from nixoci.registry.progress import LineProgress, TerminalProgress, progress_for
from nixoci.registry.push_result import MOUNTED, PRESENT, UPLOADED, PushedBlob

from tests.nixoci.layer.long_build_support import wait_until


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


def test_a_terminal_shows_builds_beside_it() -> None:
    """In the same line, which is no longer than the terminal is wide."""
    output = io.StringIO()
    progress = TerminalProgress(output)
    progress.working("Building a (0 built, 2 left)")
    progress.expect(1, 1_000_000)
    progress.working(f"Building {'b' * 200}")
    progress.working("")
    lines = output.getvalue().split("\r\x1b[K")
    assert lines[1:3] == ["Building a (0 built, 2 left)", "Building a (0 built, 2 left); 0 of 1 layers, 0.0 MB of 1.0 MB"]
    assert lines[3].startswith("Building bbb") and len(lines[3]) == 79
    assert lines[4] == "0 of 1 layers, 0.0 MB of 1.0 MB"


def test_a_log_has_a_line_of_builds_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one at once, and what comes soon after it later, if it is so then."""
    monkeypatch.setattr("nixoci.registry.progress._LONG", 0.05)
    output = io.StringIO()
    progress = LineProgress(output)
    for words in ("Building a", "", "Building b", "Building c"):
        progress.working(words, "/x.log")
    assert output.getvalue() == "Building a (log: /x.log)\n"
    wait_until(lambda: "Building c (log: /x.log)\n" in output.getvalue())
    progress.working("")
    progress.close()
    assert output.getvalue().count("\n") == 2


@pytest.mark.parametrize("verbose, lines", [(True, 3), (False, 1)])
def test_other_outputs_have_lines(
    monkeypatch: pytest.MonkeyPatch, verbose: bool, lines: int
) -> None:
    """For each blob if that is wanted, and else a sign of life where something takes long."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    output = io.StringIO()
    progress = progress_for(output, verbose)
    assert isinstance(progress, LineProgress)
    progress.done(blob(UPLOADED))
    now = 15.0
    progress.advance(5)
    progress.done(blob(MOUNTED))
    now = 20.0
    progress.done(blob(UPLOADED))
    progress.close()
    said = output.getvalue().splitlines()
    assert len(said) == lines
    assert "host/a: sha256:0 1.5 MB mounted from host/b" in said
    assert ("host/a: sha256:0 1.5 MB uploaded" in said) == verbose
