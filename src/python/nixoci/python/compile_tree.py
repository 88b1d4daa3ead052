"""Compiles modules to bytecode. The interpreter of an image runs this file, and imports nothing of ours.

Standard input is a JSON object:

- `source`: the directory with the modules, `output`: where the bytecode goes, at the same paths;
- `place`: the directory that the modules have in the image, which tracebacks show;
- `groups`: lists of paths of modules, relative to `source`; `jobs`: how many are compiled at once.

The bytecode is not checked against its source when it is loaded (PEP 552), as layers do not change. What
is no Python of this version is left out, as pip leaves it out.

What constants a code object shares depends on what the process did before. So each group has a process of
its own, a copy of this one, and the bytes do not depend on how many run at once. The caller sets
`PYTHONHASHSEED`, since the order of sets is in the bytes too.

Before Python 3.10 the compiler itself crashes at sources that are nested too deeply. Then each module of the
group has a process of its own, and what crashes alone is left out.
"""

import json
import os
import py_compile
import signal
import sys
import traceback
import warnings

#: What ends a process that has used up its stack.
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV)


def main():
    warnings.simplefilter("ignore")
    request = json.load(sys.stdin)
    waiting = request["groups"][::-1]
    running = {}
    failed = []
    while waiting or running:
        if not waiting or len(running) >= request["jobs"]:
            wait(running, waiting, failed)
            continue
        group = waiting.pop()
        child = os.fork()
        if not child:
            status = 1
            try:
                for path in group:
                    compile_module(request, path)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        running[child] = group
    if failed:
        sys.exit("compiling failed: one of " + ", ".join(failed[0][:5]) + ", ...")


def wait(running, waiting, failed):
    child, status = os.wait()
    group = running.pop(child)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in CRASHES:
        if len(group) > 1:
            waiting.extend([path] for path in reversed(group))
    elif status:
        failed.append(group)


def compile_module(request, path):
    directory, _, name = path.rpartition("/")
    name = name[: -len(".py")] + "." + sys.implementation.cache_tag + ".pyc"
    try:
        py_compile.compile(
            os.path.join(request["source"], path),
            os.path.join(request["output"], directory, "__pycache__", name),
            os.path.join(request["place"], path),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    except (py_compile.PyCompileError, SyntaxError, ValueError, RecursionError, MemoryError):
        pass


main()
