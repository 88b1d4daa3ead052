"""The options of a tool → its program: that of a package, or that of this machine."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Optional

from nixoci.program.run import ENVIRONMENT
from pants.engine.addresses import UnparsedAddressInputs
from pants.engine.env_vars import EnvironmentVarsRequest
from pants.engine.process import Process, ProcessCacheScope
from pants.engine.rules import collect_rules
from pants.util.docutil import bin_name
from pants.util.logging import LogLevel

from pants_backend_nix.engine import (
    addresses_of,
    environment_variables,
    implicitly,
    rule,
    run_fallible,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.lint.tool import Tool
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.core.answers import KeepRequest, keep_answers
from pants_backend_nix.rules.core.place import PlaceRequest, find_place
from pants_backend_nix.rules.core.session import session_environment
from pants_backend_nix.rules.flow.closure import unkept_answers
from pants_backend_nix.rules.flow.evaluate import NixPackageRequest, evaluate_package
from pants_backend_nix.targets.evaluated import NixPackage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Program:
    """The program of a tool. It is what Pants calls the metadata of a partition.

    :param tool: the name of the tool.
    :param places: absolute paths; the first that is there is run.
    :param identity: what tells it from another version at the same place; empty for one of a package, whose
        path does.
    :param package: that has it.
    """

    tool: str
    places: tuple[str, ...]
    identity: str = ""
    package: Optional[NixPackage] = None

    @property
    def description(self) -> None:
        """Nothing needs to be said of the files that have this program."""
        return None


@dataclass(frozen=True)
class ProgramRequest:
    """:param session: in which this machine is looked at."""

    tool: Tool
    session: int


@dataclass(frozen=True)
class FoundProgram:
    """:param program: None if this machine has none, which has been said then."""

    program: Optional[Program]


async def _of_package(tool: Tool) -> Program:
    if "/" in tool.program:
        raise NixImageError(
            f"The option `[{tool.scope}].program` is {tool.program!r}. With `[{tool.scope}].package` it is the name of "
            "a program in the directory `bin` of that package."
        )
    origin = f"the option `[{tool.scope}].package`"
    (address,) = await addresses_of(
        UnparsedAddressInputs((tool.package,), owning_address=None, description_of_origin=origin)
    )
    package = await evaluate_package(
        NixPackageRequest(address, origin[0].upper() + origin[1:]), **implicitly()
    )
    await keep_answers(KeepRequest(unkept_answers([package])), **implicitly())
    places = tuple(f"{path}/bin/{tool.program}" for path in package.paths)
    return Program(tool.scope, places, package=package)


async def _version(path: str, session: int) -> bytes:
    """Returns what a program says of its version; empty if it says nothing."""
    place = await find_place(PlaceRequest(), **implicitly())
    result = await run_fallible(
        Process(
            (path, "--version"),
            description=f"Ask {path} for its version",
            level=LogLevel.DEBUG,
            env={**ENVIRONMENT, **session_environment(session)},
            cache_scope=ProcessCacheScope.PER_RESTART_SUCCESSFUL,
        ),
        place.environment,
    )
    return result.stdout if result.exit_code == 0 else b""


@lru_cache(maxsize=64)
def _digest(path: str, *_: int) -> str:
    """Returns the SHA-256 of a file; the other arguments are facts that a changed file has others of."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            block = file.read(1 << 20)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def _identity(path: str, version: bytes) -> str:
    """Returns what tells a program from other versions.

    A script of a few lines stays the same when what it starts is another one, so its version counts as well.
    """
    path = os.path.realpath(path)
    try:
        facts = os.stat(path)
        content = _digest(path, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    except OSError:
        # Others may run it and not read it.
        content = path
    return hashlib.sha256(content.encode() + version).hexdigest()


def _find(program: str, directories: tuple[str, ...]) -> Optional[str]:
    if program.startswith("/"):
        candidates = [program]
    else:
        candidates = [os.path.join(directory, program) for directory in directories]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


@rule(desc="Find program for Nix files", level=LogLevel.DEBUG)
async def find_program(request: ProgramRequest, nix: NixSubsystem) -> FoundProgram:
    tool = request.tool
    if tool.package:
        return FoundProgram(await _of_package(tool))
    if "/" in tool.program and not tool.program.startswith("/"):
        raise NixImageError(
            f"The option `[{tool.scope}].program` is {tool.program!r}. It is the name of a program, or an absolute path."
        )
    found = await environment_variables(EnvironmentVarsRequest(("HOME", "PATH")))
    path = _find(tool.program, nix.directories(found))
    if path is None:
        where = "" if tool.program.startswith("/") else " in the directories of `[nix].search_path`"
        logger.warning(
            f"{tool.program} was not found{where}, so {tool.scope} is skipped. Install it, set "
            f"`[{tool.scope}].program` to its path, set `[{tool.scope}].package` to a `nix_package` that has it "
            f"(`{bin_name()} help {tool.scope}`), or turn it off with `[{tool.scope}].skip`."
        )
        return FoundProgram(None)
    version = await _version(path, request.session)
    return FoundProgram(Program(tool.scope, (path,), _identity(path, version)))


def rules():
    return collect_rules()
