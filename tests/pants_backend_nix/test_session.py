"""What tells sessions of Pants apart, also those of several schedulers in one process, as pantsd has them at times."""

from __future__ import annotations

from pants.engine.rules import QueryRule
from pants.testutil.rule_runner import RuleRunner

from pants_backend_nix.rules.core import session
from pants_backend_nix.rules.core.session import CurrentSession, CurrentSessionRequest


def _runner() -> RuleRunner:
    query = QueryRule(CurrentSession, [CurrentSessionRequest])
    return RuleRunner(rules=[*session.rules(), query])


def _ask(runner: RuleRunner) -> int:
    return runner.request(CurrentSession, [CurrentSessionRequest()]).id


def test_sessions_of_several_schedulers() -> None:
    """Names are taken, and pushes enrolled, under the number of a session."""
    ids = [_ask(_runner()) for _ in range(3)]
    assert len(set(ids)) == 3


def test_one_session_and_the_next() -> None:
    runner = _runner()
    first = _ask(runner)
    assert _ask(runner) == first
    runner.new_session("next")
    assert _ask(runner) != first
