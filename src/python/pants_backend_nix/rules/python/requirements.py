"""Requirements of a PEX → a tree of installed distributions, as it is in an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Union

from nixoci.python.distributions import Installed
from nixoci.python.environment import Environment
from packaging.specifiers import InvalidSpecifier, SpecifierSet  # pants: no-infer-dep
from pants.backend.python.util_rules.pex_cli import PexCliProcess
from pants.engine.fs import Digest, FileEntry, SymlinkEntry
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import (
    built_pex,
    entries,
    environment_named,
    implicitly,
    merge,
    pex_process,
    rule,
    run_fallible,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.run import SPECULATION_DELAY, CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.python.bytecode import BytecodeRequest, compile_modules
from pants_backend_nix.rules.python.interpreter import Interpreter
from pants_backend_nix.rules.python.parts import PexParts

#: The tree of distributions in sandboxes.
TREE = "distributions"


@dataclass(frozen=True)
class RequirementsRequest:
    """:param place: directory of the environment in the image.
    :param origin: the field and target that ask for it, for an error.
    """

    parts: PexParts
    interpreter: Interpreter
    place: str
    origin: str


@dataclass(frozen=True)
class Requirements:
    """:param files: files and links by path in the environment."""

    files: FrozenDict[str, Union[FileEntry, SymlinkEntry]]
    installed: Installed


async def _laid_out(request: RequirementsRequest) -> Digest:
    """Returns the flat tree that pex makes of the requirements that fit the interpreter."""
    parts = request.parts
    environment = await environment_named(parts.environment)
    pex = await built_pex(parts.requirements, environment)
    platforms = request.interpreter.platforms
    process = await pex_process(
        PexCliProcess(
            subcommand=("venv", "create"),
            extra_args=(
                f"--dest-dir={TREE}",
                "--layout=flat",
                "--scope=deps",
                "--collisions-ok",
                f"--pex-repository={pex.name}",
                *platforms.generate_pex_arg_list(),
            ),
            additional_input_digest=await merge((pex.digest, platforms.digest)),
            output_directories=(TREE,),
            description=f"Lay out requirements for {request.place}",
        ),
        environment,
    )
    result = await run_fallible(
        replace(process, remote_cache_speculation_delay_millis=SPECULATION_DELAY), environment
    )
    if result.exit_code:
        raise NixImageError(
            f"{request.origin}: the requirements do not fit the Python {request.interpreter.version} of the "
            f"image, {request.interpreter.path}. Give the image the interpreter that the `pex_binary` is for, or "
            "build that for this one (`interpreter_constraints`, `complete_platforms`). pex says:\n\n"
            + result.stderr.decode(errors="replace").strip()
        )
    return result.output_digest


@rule(desc="Lay out requirements")
async def lay_out_requirements(request: RequirementsRequest) -> Requirements:
    _require_version(request)
    interpreter = request.interpreter
    environment = Environment(request.place, interpreter.language, interpreter.path)
    tree = await _laid_out(request)
    found = {entry.path[len(TREE) + 1 :]: entry for entry in await entries(tree)}
    files = {
        path: entry
        for path, entry in found.items()
        if isinstance(entry, (FileEntry, SymlinkEntry))
    }
    if not files:
        return Requirements(FrozenDict(), Installed((), (), (), {}))
    step = await run_store_step(
        StoreStep(
            CoreRun(
                (
                    "python-distributions",
                    f"--place={request.place}",
                    f"--version={interpreter.language}",
                    f"--interpreter={interpreter.path}",
                    "--changed=changed",
                    "--output=installed.json",
                    TREE,
                ),
                f"List distributions for {request.place}",
                tree,
                output="installed.json",
                directory="changed",
                needs_nix=False,
            ),
            (),
        ),
        **implicitly(),
    )
    installed = Installed.from_json(step.output)
    bytecode = await compile_modules(
        BytecodeRequest(tree, TREE, interpreter, environment.modules, installed.data), **implicitly()
    )
    changed = {entry.path: entry for entry in await entries(step.directory)}
    for path in installed.left_out:
        del files[path]
    for path, entry in (*changed.items(), *bytecode.files.items()):
        if isinstance(entry, FileEntry):
            files[path] = entry
    return Requirements(
        FrozenDict(
            {environment.relative_place(path, installed.data): entry for path, entry in files.items()}
        ),
        installed,
    )


def _require_version(request: RequirementsRequest) -> None:
    """:raises NixImageError: the PEX is not for the version of the interpreter."""
    constraints = request.parts.constraints
    if not constraints or any(_meets(request.interpreter.version, one) for one in constraints):
        return
    raise NixImageError(
        f"{request.origin}: the `pex_binary` is for {' or '.join(constraints)}, and "
        f"{request.interpreter.path} is Python {request.interpreter.version}. Give the image an interpreter "
        "that it is for, or change `interpreter_constraints` of its sources."
    )


def _meets(version: str, constraint: str) -> bool:
    """Returns whether a version meets an interpreter constraint, such as `CPython>=3.9,<3.12`."""
    start = next((i for i, letter in enumerate(constraint) if letter in "<>=!~"), len(constraint))
    try:
        return SpecifierSet(constraint[start:]).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def rules():
    return collect_rules()
