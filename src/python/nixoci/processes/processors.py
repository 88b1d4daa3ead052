"""Whether a second process would find a processor to run on."""

from __future__ import annotations

import os


def has_idle_processor() -> bool:
    """Whether more processors are there for this process than are busy at this moment.

    Pants starts as many digests as there are processors, and if each of these started more processes,
    they would only get in each other's way. One that runs alone may use what is left.

    The answer is a guess: a wrong one costs some time, and nothing else.
    """
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    return _running() < processors


def _running() -> int:
    """Threads of the machine that run or could run, with this one; 1 where the kernel does not say."""
    try:
        # The fourth word is `<running>/<all>` (proc_loadavg(5)). The averages before it are of a
        # minute and more, in which most digests come and go.
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[3].partition(b"/")[0])
    except (OSError, ValueError, IndexError):
        return 1
