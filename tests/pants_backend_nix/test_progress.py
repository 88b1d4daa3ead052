"""Tests of `pants_backend_nix.progress`."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import coroutine
from typing import Any, Generator

import pytest

from pants_backend_nix.progress import logged_progress
from tests.nixoci.layer.long_build_support import wait_until


def _looking() -> bool:
    return any(thread.name == "nix-progress" for thread in threading.enumerate())


@coroutine
def _process() -> Generator[None, None, None]:
    """Stands for what the engine waits for."""
    yield


async def _rule(path: Path) -> None:
    with logged_progress(str(path)):
        await _process()


@pytest.mark.parametrize("ends", ["send", "close", "throw", "del"])
def test_a_line_is_logged_while_the_rule_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    """Nothing is left of the one that looks, however the rule ends."""
    file = tmp_path / "progress"
    caplog.set_level(logging.INFO)
    # What somebody else has written there may be anything.
    file.write_bytes(b"Building a \x1b[2J\xff\nmore" + b"x" * 5000)
    waits: Any = _rule(file)
    waits.send(None)
    assert _looking()
    wait_until(lambda: bool(caplog.messages))
    (line,) = caplog.messages
    assert line.startswith("Building a \\x1b[2J") and line.isprintable() and len(line) < 600
    if ends == "send":
        with pytest.raises(StopIteration):
            waits.send(None)
    elif ends == "throw":
        with pytest.raises(KeyboardInterrupt):
            waits.throw(KeyboardInterrupt())
    elif ends == "close":
        waits.close()
    del waits
    wait_until(lambda: not _looking())


def test_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    with logged_progress(""):
        assert not _looking()
    with logged_progress(str(tmp_path / "nosuch" / "file")):
        assert _looking()
    wait_until(lambda: not _looking())
