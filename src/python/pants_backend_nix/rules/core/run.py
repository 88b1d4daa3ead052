"""Runs commands of the core in sandboxes that are the same on every machine.

What differs between machines (where Python and Nix are, which store Nix uses) is in an append-only
cache, which is no part of a process's cache key. The steps look there; only when a step has to run and
finds nothing, a process that is never cached looks through the search path and writes it.

Steps that compress layers need packages that are not in the standard library. They run on the Python
that runs Pants, since these packages were installed with the plugin, for that Python.

The workers of a remote environment keep no such caches. There each step looks for Python, and for Nix
if it needs it, by itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from nixoci.cli.exit_status import EXIT_NO_NIX
from nixoci.compression.compressor import PACKAGES
from nixoci.store.nix import ENVIRONMENT_NAMES
from nixoci.store.tools import COMPRESSOR_PYTHON_LINK, PYTHON_LINK, TOOLS_FILE
from pants.engine.env_vars import EnvironmentVarsRequest
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.internals.session import RunId
from pants.engine.process import FallibleProcessResult, Process, ProcessCacheScope
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    contents,
    create,
    entries,
    environment_variables,
    implicitly,
    merge,
    rule,
    run_fallible,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.place import Place, PlaceRequest, find_place
from pants_backend_nix.rules.core.zipapp import ZIPAPP, pack_zipapp
from pants_backend_nix.subsystem import USUAL_PLACES, NixSubsystem

#: Where the append-only cache is in the sandbox.
TOOLS_CACHE = ".nixoci"

#: Exit status of the scripts that look for Python when there is no suitable one.
_EXIT_NO_PYTHON = 77

_START = f"""\
python={TOOLS_CACHE}/{{link}}
[ -x "$python" ] || exit {EXIT_NO_NIX}
exec "$python" -I -S {ZIPAPP} --tools {TOOLS_CACHE}/{TOOLS_FILE} --json-errors "$@"
"""


def _with_python(command: str) -> str:
    """Returns a script that looks for a Python and then becomes it, with `command`."""
    return f"""\
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9; do
  python=$(command -v "$name") || continue
  "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || continue
  exec "$python" -I -S {ZIPAPP} --json-errors {command}
done
exit {_EXIT_NO_PYTHON}
"""


_FIND_PYTHON = _with_python(f'tools "$@" {TOOLS_CACHE}')

#: A worker's processes may have no environment at all. Nix wants a user, and keeps caches below `HOME`.
_START_ELSEWHERE = f"""\
: "${{USER:=nixoci}}" "${{HOME:=$PWD/{TOOLS_CACHE}}}" "${{PATH:=/usr/local/bin:/usr/bin:/bin}}"
PATH=$PATH:{":".join(place.replace("~", "$HOME", 1) for place in USUAL_PLACES)}
export HOME PATH USER
{_with_python('"$@"')}"""

#: Milliseconds for which a remote cache is asked before a step is started here as well. A lookup that
#: misses does not wait it out; a step that ends at once with "not valid" must not win against a hit.
_SPECULATION_DELAY = 15_000


@dataclass(frozen=True)
class CoreRun:
    """One command of the core.

    :param arguments: of `nixoci`; names of files are relative to the sandbox.
    :param output: the file that it writes, if any.
    :param kept: a further file that it writes, too large to be read here.
    :param session: of a run with side effects: it is done once in each session of Pants that asks
        for it (see `current_session`), and no cache keeps it.
    :param compresses: it needs the compressors.
    :param attempt: told apart in memory, but not in caches: a failed run is tried again, and its
        success stored, under the same key.
    :param environment: in which it runs, see `find_place`.
    :param needs_nix: False for a command that only needs Python.
    """

    arguments: tuple[str, ...]
    description: str = field(compare=False)
    input_digest: Digest = EMPTY_DIGEST
    output: Optional[str] = None
    kept: Optional[str] = None
    session: Optional[int] = None
    attempt: int = 0
    compresses: bool = False
    environment: EnvironmentNameRequest = THIS_MACHINE
    needs_nix: bool = True


@dataclass(frozen=True)
class CoreResult:
    """:param output: contents of the file written, or None after a failure or without one.
    :param error: what the core reports of a failure: `error`, `message` and the error's facts.
    :param kept: a tree with the file `kept`.
    """

    exit_code: int
    output: Optional[bytes]
    error: FrozenDict[str, Any]
    stderr: str
    kept: Digest = EMPTY_DIGEST


@dataclass(frozen=True)
class CurrentSessionRequest:
    """Asks which session of Pants this is."""


@dataclass(frozen=True)
class CurrentSession:
    """:param id: another one for each run of Pants, also when pantsd goes on."""

    id: int


@rule
async def current_session(_: CurrentSessionRequest, run_id: RunId) -> CurrentSession:
    """For what has an effect on the machine, so that it must be done again in a later session.

    Pants has the cache scope PER_SESSION for such processes. It would start them again whenever a
    later session looks at a rule that once needed them, before it knows whether it still does. With
    the number of the session in the process, it is a new one exactly if a rule asks for it. So the
    rule that finds out that it needs one asks for the number, and hands it on in its request.
    """
    return CurrentSession(int(run_id))


def session_environment(session: int) -> Mapping[str, str]:
    """Returns the variable that makes the processes of one session differ from all others'."""
    return {"NIXOCI_SESSION": str(session)}


@dataclass(frozen=True)
class ToolsRequest:
    """Asks how Nix is looked for in this session."""


@dataclass(frozen=True)
class Tools:
    """:param cache: name of the append-only cache, one for each of what follows.
    :param environment: in which Nix is looked for.
    :param arguments: of `nixoci tools`.
    """

    cache: str
    environment: FrozenDict[str, str]
    arguments: tuple[str, ...]


def _compressor_directories() -> tuple[str, ...]:
    """Returns where this Python finds the compressors; what is missing is no error before it is used."""
    specs = (importlib.util.find_spec(name) for name in PACKAGES)
    origins = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    return tuple(dict.fromkeys(os.path.dirname(os.path.dirname(origin)) for origin in origins))


@rule
async def describe_tools(_: ToolsRequest, nix: NixSubsystem) -> Tools:
    names = sorted({*ENVIRONMENT_NAMES, *nix.env_vars, "PATH"})
    found = await environment_variables(EnvironmentVarsRequest(names))
    environment = {**found, "PATH": ":".join(nix.directories(found))}
    if nix.store is not None:
        environment["NIX_REMOTE"] = nix.store
    arguments = (
        *(f"--environment-name={name}" for name in sorted(nix.env_vars)),
        *(f"--setting={name}={value}" for name, value in sorted(nix.settings.items())),
        f"--compressor-python={sys.executable}",
        *(f"--compressor-directory={directory}" for directory in _compressor_directories()),
    )
    content = json.dumps([environment, arguments], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()
    # Names of caches have no digits.
    letters = key[:16].translate(str.maketrans("0123456789", "ghijklmnop"))
    return Tools(f"nixoci_{letters}", FrozenDict(environment), arguments)


@dataclass(frozen=True)
class SetUpTools:
    """Asks for Python and Nix to be found and written to the append-only cache of `tools`.

    :param session: in which they are missed, see `current_session`.
    """

    tools: Tools
    session: int


@dataclass(frozen=True)
class ToolsSetUp:
    """Says that it is done."""


@rule(desc="Find Nix", level=LogLevel.DEBUG)
async def set_up_tools(request: SetUpTools) -> ToolsSetUp:
    zipapp = await pack_zipapp(**implicitly())
    place = await find_place(PlaceRequest(), **implicitly())
    result = await run_fallible(
        Process(
            ("/bin/sh", "-c", _FIND_PYTHON, "sh", *request.tools.arguments),
            description="Find Nix",
            input_digest=zipapp.digest,
            env={**request.tools.environment, **session_environment(request.session)},
            append_only_caches={request.tools.cache: TOOLS_CACHE},
            cache_scope=ProcessCacheScope.PER_RESTART_SUCCESSFUL,
        ),
        place.environment,
    )
    if result.exit_code:
        directories = bullet_list(request.tools.environment["PATH"].split(":")) or "(none)"
        if result.exit_code == _EXIT_NO_PYTHON:
            what = "There is no Python 3.9 or later."
        else:
            what = _error(result).get("message") or result.stderr.decode(errors="replace")
        raise NixImageError(
            f"{what}\n\nThese directories were searched; add others with the option "
            f"`[nix].search_path`:\n{directories}"
        )
    return ToolsSetUp()


async def _run_here(request: CoreRun, digest: Digest, place: Place) -> FallibleProcessResult:
    tools = await describe_tools(ToolsRequest(), **implicitly())
    result = await run_fallible(_process(request, digest, tools), place.environment)
    if result.exit_code == EXIT_NO_NIX:
        session = await current_session(CurrentSessionRequest(), **implicitly())
        await set_up_tools(SetUpTools(tools, session.id), **implicitly())
        result = await run_fallible(
            _process(request, digest, tools, retry=True), place.environment
        )
    return result


async def _run_elsewhere(request: CoreRun, digest: Digest, place: Place) -> FallibleProcessResult:
    result = await run_fallible(_process(request, digest), place.environment)
    if result.exit_code == _EXIT_NO_PYTHON:
        raise NixImageError(
            f"{request.description}: {place.elsewhere} has no Python 3.9 or later, neither in its `PATH` "
            f"nor in the usual places: {', '.join(USUAL_PLACES)}. Install one there, or take the target "
            "out of this environment (field `environment`)."
        )
    if result.exit_code == EXIT_NO_NIX:
        raise NixImageError(
            f"{request.description}: {place.elsewhere} has no Nix, although the field `has_nix` of "
            f"{place.target} is set. {_error(result).get('message')} Or leave `has_nix` out: what needs "
            "Nix is then done on the machine that runs Pants."
        )
    return result


@rule
async def run_core(request: CoreRun) -> CoreResult:
    zipapp = await pack_zipapp(**implicitly())
    digest = await merge((zipapp.digest, request.input_digest))
    # The compressors are here, with the plugin.
    environment = THIS_MACHINE if request.compresses else request.environment
    place = await find_place(PlaceRequest(environment, request.needs_nix), **implicitly())
    if place.elsewhere:
        result = await _run_elsewhere(request, digest, place)
    else:
        result = await _run_here(request, digest, place)
    output = None
    kept = EMPTY_DIGEST
    if result.exit_code == 0 and request.output is not None:
        written = result.output_digest
        if request.kept is not None:
            by_path = {entry.path: entry for entry in await entries(written)}
            written = await create([by_path[request.output]])
            kept = await create([by_path[request.kept]])
        (file,) = await contents(written)
        output = file.content
    return CoreResult(
        result.exit_code,
        output,
        FrozenDict() if result.exit_code == 0 else FrozenDict(_error(result)),
        result.stderr.decode(errors="replace"),
        kept,
    )


def _process(
    request: CoreRun, digest: Digest, tools: Optional[Tools] = None, *, retry: bool = False
) -> Process:
    env: Mapping[str, str] = {}
    cache_scope = ProcessCacheScope.SUCCESSFUL
    if request.session is not None:
        env = session_environment(request.session)
        cache_scope = ProcessCacheScope.PER_RESTART_SUCCESSFUL
    start = _START_ELSEWHERE
    if tools:
        start = _START.format(link=COMPRESSOR_PYTHON_LINK if request.compresses else PYTHON_LINK)
    return Process(
        ("/bin/sh", "-c", start, "nixoci", *request.arguments),
        description=request.description,
        input_digest=digest,
        env=env,
        output_files=tuple(name for name in (request.output, request.kept) if name is not None),
        append_only_caches={tools.cache: TOOLS_CACHE} if tools else {},
        cache_scope=cache_scope,
        remote_cache_speculation_delay_millis=_SPECULATION_DELAY + 2 * request.attempt + retry,
    )


def _error(result: FallibleProcessResult) -> Mapping[str, Any]:
    """Returns what the core printed of its failure; empty if it did not get that far."""
    try:
        document = json.loads(result.stdout)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}


def rules():
    return collect_rules()
