"""Modules → their bytecode, made by the interpreter of the image."""

from __future__ import annotations

from dataclasses import dataclass

from pants.engine.fs import Digest, FileEntry
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import entries, implicitly, rule
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.python.interpreter import Interpreter


@dataclass(frozen=True)
class BytecodeRequest:
    """:param directory: of the modules, in `tree`.
    :param place: what that directory is in the image.
    :param without: names at the top of it that hold no modules.
    """

    tree: Digest
    directory: str
    interpreter: Interpreter
    place: str
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bytecode:
    """:param files: by path below the directory of the modules."""

    files: FrozenDict[str, FileEntry]


@rule(desc="Compile modules")
async def compile_modules(request: BytecodeRequest) -> Bytecode:
    interpreter = request.interpreter
    if not interpreter.program:
        return Bytecode(FrozenDict())
    step = await run_store_step(
        StoreStep(
            CoreRun(
                (
                    "python-bytecode",
                    f"--place={request.place}",
                    *(f"--without={name}" for name in request.without),
                    "--directory=bytecode",
                    interpreter.program,
                    request.directory,
                ),
                f"Compile modules for {request.place}",
                request.tree,
                directory="bytecode",
                environment=interpreter.environment,
            ),
            interpreter.packages,
        ),
        **implicitly(),
    )
    found = await entries(step.directory)
    return Bytecode(
        FrozenDict({entry.path: entry for entry in found if isinstance(entry, FileEntry)})
    )


def rules():
    return collect_rules()
