"""A goal that runs processes, all alike but for an argument, and says what each took a rule.

It runs under Pants 2.17, which this repository has.
"""

from __future__ import annotations

import json
import time

from pants.engine.console import Console
from pants.engine.fs import CreateDigest, Digest, DigestContents, FileContent
from pants.engine.goal import Goal, GoalSubsystem
from pants.engine.process import FallibleProcessResult, Process
from pants.engine.rules import Get, collect_rules, goal_rule
from pants.option.option_types import IntOption


class LookupsSubsystem(GoalSubsystem):
    name = "lookups"
    help = "Runs processes one after the other, or takes them from a cache."

    count = IntOption(default=50, help="How many.")
    bytes = IntOption(default=1000, help="Size of the file that each reads and writes.")


class Lookups(Goal):
    subsystem_cls = LookupsSubsystem
    environment_behavior = Goal.EnvironmentBehavior.LOCAL_ONLY


@goal_rule
async def look_up(console: Console, options: LookupsSubsystem) -> Lookups:
    seconds = []
    for number in range(options.count):
        content = f"{number} ".encode().ljust(options.bytes, b"x")
        start = time.perf_counter()
        digest = await Get(Digest, CreateDigest([FileContent("input", content)]))
        result = await Get(
            FallibleProcessResult,
            Process(
                ("/bin/sh", "-c", "/bin/cat input > output", str(number)),
                description=f"Copy {number}",
                input_digest=digest,
                output_files=("output",),
                remote_cache_speculation_delay_millis=15_000,
            ),
        )
        (file,) = await Get(DigestContents, Digest, result.output_digest)
        seconds.append(time.perf_counter() - start)
        assert len(file.content) == len(content)
    console.print_stdout(json.dumps(seconds))
    return Lookups(exit_code=0)


def rules():
    return collect_rules()
