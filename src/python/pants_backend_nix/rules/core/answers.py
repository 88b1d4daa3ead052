"""Questions about packages: each has a cached result of its own, and many are worked out by one process.

A question is a process that starts no Python and no Nix: it takes the answer from an append-only cache, where a
process that answered several questions has left it (`nixoci.batch.answers`). That one is in no cache. The
question is, under a key that says what this answer depends on, and nothing of what else was asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Optional

from nixoci.batch.answers import ANSWERS, answer_file, answer_key
from nixoci.cli.exit_status import EXIT_NO_NIX, EXIT_NOT_VALID
from nixoci.store.tools import PYTHON_LINK
from pants.engine.process import Process, ProcessCacheScope
from pants.engine.rules import collect_rules
from pants.util.logging import LogLevel

from pants_backend_nix.engine import concurrently, implicitly, rule, run_fallible
from pants_backend_nix.engine import contents as contents_of
from pants_backend_nix.rules.core.place import PlaceRequest, find_place
from pants_backend_nix.rules.core.run import SPECULATION_DELAY
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.core.start import TOOLS_CACHE
from pants_backend_nix.rules.core.tools import (
    SetUpTools,
    ToolsRequest,
    describe_tools,
    set_up_tools,
)
from pants_backend_nix.rules.core.zipapp import pack_zipapp

_OUTPUT = "answer.json"

#: Sandboxes have no PATH. Where `cat` is not in its usual place, Python is beside the answers.
_LOOK_UP = f"""\
answer={TOOLS_CACHE}/{ANSWERS}/$1
[ -x {TOOLS_CACHE}/{PYTHON_LINK} ] || exit {EXIT_NO_NIX}
[ -r "$answer" ] || exit {EXIT_NOT_VALID}
[ -x /bin/cat ] && exec /bin/cat "$answer" >{_OUTPUT}
exec {TOOLS_CACHE}/{PYTHON_LINK} -I -S -c \\
  'import sys; sys.stdout.write(open(sys.argv[1]).read())' "$answer" >{_OUTPUT}
"""


@dataclass(frozen=True)
class Question:
    """:param kind: and `facts`, all that the answer depends on, apart from the program; JSON.
    :param attempt: told apart in memory, but not in caches, as in `CoreRun`.
    :param needs_nix: False if whoever works it out needs none.
    """

    kind: str
    facts: tuple[Any, ...]
    description: str = field(compare=False)
    attempt: int = 0
    needs_nix: bool = True


@dataclass(frozen=True)
class Answer:
    """:param key: under which whoever works it out leaves it.
    :param content: None if nobody has.
    """

    key: str
    content: Optional[bytes]


@dataclass(frozen=True)
class KeepRequest:
    """Asks for answers that were just left to get into the caches.

    To whoever asked for them they are told at once, and what follows needs no cache. So they are kept beside that.
    """

    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Kept:
    """Says that they are."""


@rule
async def look_up(question: Question) -> Answer:
    zipapp = await pack_zipapp(**implicitly())
    tools = await describe_tools(ToolsRequest(), **implicitly())
    place = await find_place(PlaceRequest(), **implicitly())
    key = answer_key(zipapp.digest.fingerprint, question.kind, question.facts)
    result = await run_fallible(
        Process(
            ("/bin/sh", "-c", _LOOK_UP, "nixoci", answer_file(key)),
            description=question.description,
            level=LogLevel.DEBUG,
            output_files=(_OUTPUT,),
            append_only_caches={tools.cache: TOOLS_CACHE},
            cache_scope=ProcessCacheScope.SUCCESSFUL,
            remote_cache_speculation_delay_millis=SPECULATION_DELAY + question.attempt,
        ),
        place.environment,
    )
    if result.exit_code == EXIT_NO_NIX:
        # Whoever works the answer out must find them: a process of a session that fails since they are missing would
        # be started again in the next one, as Pants looks at all that a rule once asked for.
        session = await current_session(CurrentSessionRequest(), **implicitly())
        await set_up_tools(
            SetUpTools(tools, session.id, question.needs_nix), **implicitly()
        )
    if result.exit_code:
        return Answer(key, None)
    (file,) = await contents_of(result.output_digest)
    return Answer(key, file.content)


@rule
async def keep_answers(request: KeepRequest) -> Kept:
    await concurrently(
        look_up(replace(question, attempt=1), **implicitly()) for question in request.questions
    )
    return Kept()


def rules():
    return collect_rules()
