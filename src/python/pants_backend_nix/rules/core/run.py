"""Runs commands of the core in sandboxes that are the same on every machine.

What differs between machines (where Python and Nix are, which store Nix uses) is in an append-only
cache, which is no part of a process's cache key. The steps look there; only when a step has to run and
finds nothing, a process that is never cached looks through the search path and writes it.

Steps that compress layers, or read ELF files, need packages that are not in the standard library. They run
on the Python that runs Pants, since these packages were installed with the plugin, for that Python.

The workers of a remote environment keep no such caches. There each step looks for Python, and for Nix
if it needs it, by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from nixoci.cli.exit_status import EXIT_NO_NIX
from nixoci.store.tools import PACKAGES_PYTHON_LINK, PYTHON_LINK
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.process import FallibleProcessResult, Process, ProcessCacheScope
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import (
    THIS_MACHINE,
    EnvironmentNameRequest,
    implicitly,
    merge,
    rule,
    run_fallible,
    subset,
    subtree,
)
from pants_backend_nix.engine import (
    contents as contents_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.nix import USUAL_PLACES
from pants_backend_nix.rules.core.contents import contents_inputs
from pants_backend_nix.rules.core.place import Place, PlaceRequest, find_place
from pants_backend_nix.rules.core.report import reported_error
from pants_backend_nix.rules.core.session import (
    CurrentSessionRequest,
    current_session,
    session_environment,
)
from pants_backend_nix.rules.core.start import (
    EXIT_NO_PYTHON,
    START,
    START_ELSEWHERE,
    TOOLS_CACHE,
)
from pants_backend_nix.rules.core.tools import (
    SetUpTools,
    Tools,
    ToolsRequest,
    describe_tools,
    set_up_tools,
)
from pants_backend_nix.rules.core.zipapp import pack_whole_zipapp, pack_zipapp

#: Milliseconds for which a remote cache is asked before a step is started here as well. A lookup that
#: misses does not wait it out; a step that ends at once with "not valid" must not win against a hit.
SPECULATION_DELAY = 15_000


@dataclass(frozen=True)
class CoreRun:
    """One command of the core.

    :param arguments: of `nixoci`; names of files are relative to the sandbox.
    :param contents: a tree of files, named by their SHA-256, that layers are made of; however many
        processes read it, Pants writes it to the disk once. See `contents_arguments`.
    :param output: the file that it writes, if any.
    :param kept: a further file that it writes, too large to be read here.
    :param directory: a directory that it writes.
    :param session: of a run with side effects: it is done once in each session of Pants that asks
        for it (see `current_session`), and no cache keeps it.
    :param needs_packages: it compresses or reads ELF files, with packages that came with the plugin.
    :param attempt: told apart in memory, but not in caches: a failed run is tried again, and its
        success stored, under the same key.
    :param environment: in which it runs, see `find_place`; but see `runs_in`.
    :param needs_nix: False for a command that only needs Python.
    :param has_image: it works on a whole image, or on a lock file, with more of the core than steps have.
    """

    arguments: tuple[str, ...]
    description: str = field(compare=False)
    input_digest: Digest = EMPTY_DIGEST
    contents: Digest = EMPTY_DIGEST
    output: Optional[str] = None
    kept: Optional[str] = None
    directory: Optional[str] = None
    session: Optional[int] = None
    attempt: int = 0
    needs_packages: bool = False
    environment: EnvironmentNameRequest = THIS_MACHINE
    needs_nix: bool = True
    has_image: bool = False

    @property
    def runs_in(self) -> EnvironmentNameRequest:
        """Where it runs: the packages that came with the plugin are on this machine."""
        return THIS_MACHINE if self.needs_packages else self.environment


@dataclass(frozen=True)
class CoreResult:
    """:param output: contents of the file written, or None after a failure or without one.
    :param error: what the core reports of a failure: `error`, `message` and the error's facts.
    :param kept: a tree with the file `kept`.
    :param directory: the tree that `directory` is.
    """

    exit_code: int
    output: Optional[bytes]
    error: FrozenDict[str, Any]
    stderr: str
    kept: Digest = EMPTY_DIGEST
    directory: Digest = EMPTY_DIGEST


async def _run_here(
    request: CoreRun, program: Digest, digest: Digest, place: Place
) -> FallibleProcessResult:
    tools = await describe_tools(ToolsRequest(), **implicitly())
    start = START.format(
        link=PACKAGES_PYTHON_LINK if request.needs_packages else PYTHON_LINK,
        program=program.fingerprint,
    )
    result = await run_fallible(_process(request, digest, start, tools), place.environment)
    if result.exit_code == EXIT_NO_NIX:
        session = await current_session(CurrentSessionRequest(), **implicitly())
        await set_up_tools(SetUpTools(tools, session.id, request.needs_nix), **implicitly())
        result = await run_fallible(
            _process(request, digest, start, tools, retry=True), place.environment
        )
    return result


async def _run_elsewhere(request: CoreRun, digest: Digest, place: Place) -> FallibleProcessResult:
    result = await run_fallible(_process(request, digest, START_ELSEWHERE), place.environment)
    if result.exit_code == EXIT_NO_PYTHON:
        raise NixImageError(
            f"{request.description}: {place.elsewhere} has no Python 3.9 or later, neither in its `PATH` "
            f"nor in the usual places: {', '.join(USUAL_PLACES)}. Install one there, or take the target "
            "out of this environment (field `environment`)."
        )
    if result.exit_code == EXIT_NO_NIX:
        raise NixImageError(
            f"{request.description}: {place.elsewhere} has no Nix, although the field `has_nix` of "
            f"{place.target} is set. {reported_error(result).get('message')} Or leave `has_nix` out: what needs "
            "Nix is then done on the machine that runs Pants."
        )
    return result


@rule
async def run_core(request: CoreRun) -> CoreResult:
    if request.has_image:
        whole = await pack_whole_zipapp(**implicitly())
        program = whole.digest
    else:
        zipapp = await pack_zipapp(**implicitly())
        program = zipapp.digest
    digest = await merge((program, request.input_digest))
    place = await find_place(PlaceRequest(request.runs_in, request.needs_nix), **implicitly())
    if place.elsewhere:
        result = await _run_elsewhere(request, digest, place)
    else:
        result = await _run_here(request, program, digest, place)
    output = None
    kept = directory = EMPTY_DIGEST
    if result.exit_code == 0:
        written = result.output_digest
        if request.directory is not None:
            directory = await subtree(written, request.directory)
        if request.kept is not None:
            kept = await subset(written, (request.kept,))
        if request.output is not None:
            if request.directory is not None or request.kept is not None:
                written = await subset(written, (request.output,))
            (file,) = await contents_of(written)
            output = file.content
    return CoreResult(
        result.exit_code,
        output,
        FrozenDict() if result.exit_code == 0 else FrozenDict(reported_error(result)),
        result.stderr.decode(errors="replace"),
        kept,
        directory,
    )


def _process(
    request: CoreRun,
    digest: Digest,
    start: str,
    tools: Optional[Tools] = None,
    *,
    retry: bool = False,
) -> Process:
    env: Mapping[str, str] = {}
    cache_scope = ProcessCacheScope.SUCCESSFUL
    if request.session is not None:
        env = session_environment(request.session)
        cache_scope = ProcessCacheScope.PER_RESTART_SUCCESSFUL
    return Process(
        ("/bin/sh", "-c", start, "nixoci", *request.arguments),
        description=request.description,
        input_digest=digest,
        immutable_input_digests=contents_inputs(request.contents),
        env=env,
        output_files=tuple(name for name in (request.output, request.kept) if name is not None),
        output_directories=() if request.directory is None else (request.directory,),
        append_only_caches={tools.cache: TOOLS_CACHE} if tools else {},
        cache_scope=cache_scope,
        remote_cache_speculation_delay_millis=SPECULATION_DELAY + 2 * request.attempt + retry,
    )


def rules():
    return collect_rules()
