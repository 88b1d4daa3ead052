"""Where Python and Nix are on this machine, and which store Nix uses: found once, kept beside the caches.

They are in an append-only cache, which is no part of a process's cache key. Only when a step has to run
and finds nothing there, a process that is never cached looks through the search path and writes it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import dataclass

from nixoci.compression.compressor import PACKAGES as COMPRESSORS
from nixoci.elf.facts import PACKAGES as ELF_READERS
from nixoci.store.configuration import store_in
from nixoci.store.nix import ENVIRONMENT_NAMES
from pants.engine.env_vars import EnvironmentVarsRequest
from pants.engine.process import Process, ProcessCacheScope
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import environment_variables, implicitly, rule, run_fallible
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.core.memory import release_memory
from pants_backend_nix.rules.core.place import PlaceRequest, find_place
from pants_backend_nix.rules.core.report import reported_error
from pants_backend_nix.rules.core.session import session_environment
from pants_backend_nix.rules.core.start import EXIT_NO_PYTHON, FIND_PYTHON, TOOLS_CACHE
from pants_backend_nix.rules.core.zipapp import pack_zipapp


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


def _package_directories() -> tuple[str, ...]:
    """Returns where this Python finds the packages; what is missing is no error before it is used."""
    specs = (importlib.util.find_spec(name) for name in (*COMPRESSORS, *ELF_READERS))
    origins = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    return tuple(dict.fromkeys(os.path.dirname(os.path.dirname(origin)) for origin in origins))


@rule
async def describe_tools(_: ToolsRequest, nix: NixSubsystem) -> Tools:
    extra = {*nix.env_vars, "NIX_CONFIG"}
    names = sorted({*ENVIRONMENT_NAMES, *extra, "PATH"})
    release_memory()
    found = await environment_variables(EnvironmentVarsRequest(names))
    environment = {**found, "PATH": ":".join(nix.directories(found))}
    if "NIX_CONFIG" not in nix.env_vars:
        # It may have secrets, and a process has its environment in what Pants stores.
        store = store_in(environment.pop("NIX_CONFIG", ""))
        if store:
            environment["NIX_CONFIG"] = f"store = {store}"
    arguments = (
        *(f"--environment-name={name}" for name in sorted(extra)),
        *(f"--setting={name}={value}" for name, value in sorted(nix.settings.items())),
        f"--packages-python={sys.executable}",
        *(f"--packages-directory={directory}" for directory in _package_directories()),
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
    :param needs_nix: False if Python is enough: images without store paths need no Nix at all.
    """

    tools: Tools
    session: int
    needs_nix: bool = True


@dataclass(frozen=True)
class ToolsSetUp:
    """Says that it is done."""


@rule(desc="Find Nix", level=LogLevel.DEBUG)
async def set_up_tools(request: SetUpTools) -> ToolsSetUp:
    zipapp = await pack_zipapp(**implicitly())
    place = await find_place(PlaceRequest(), **implicitly())
    result = await run_fallible(
        Process(
            (
                *("/bin/sh", "-c", FIND_PYTHON, "sh", sys.executable, *request.tools.arguments),
                *(() if request.needs_nix else ("--python-only",)),
            ),
            description="Find Nix",
            input_digest=zipapp.digest,
            env={**request.tools.environment, **session_environment(request.session)},
            append_only_caches={request.tools.cache: TOOLS_CACHE},
            cache_scope=ProcessCacheScope.PER_RESTART_SUCCESSFUL,
        ),
        place.environment,
    )
    if result.exit_code:
        error = reported_error(result)
        if error.get("error") == "StoreNotHereError":
            raise NixImageError(str(error.get("message")))
        directories = bullet_list(request.tools.environment["PATH"].split(":")) or "(none)"
        if result.exit_code == EXIT_NO_PYTHON:
            what = "There is no Python 3.9 or later."
        else:
            what = error.get("message") or result.stderr.decode(errors="replace")
        raise NixImageError(
            f"{what}\n\nThese directories were searched; add others with the option "
            f"`[nix].search_path`:\n{directories}"
        )
    return ToolsSetUp()


def rules():
    return collect_rules()
