"""A path in an image → the Python that is there, and which wheels it takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import packaging  # pants: no-infer-dep
from nixoci.errors import InvalidInputError
from nixoci.python.interpreter import (
    language_version,
    parse_interpreter,
    parse_platform,
    platform_file,
)
from nixoci.store.path import STORE_DIR
from pants.backend.python.util_rules.pex import CompletePlatforms
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    contents,
    create,
    implicitly,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.targets.evaluated import NixPackage

#: The file with the complete platform of an interpreter, in the tree of `Interpreter.platforms`.
_PLATFORM = "platform.json"

#: The directory of what that is found with, in sandboxes.
_LIBRARY = "library"


@dataclass(frozen=True)
class InterpreterRequest:
    """:param path: in the image.
    :param packages: that the image has.
    :param copied: those of them that are copied to the root of the image.
    :param platforms: of the PEX that it is to run, if it says any.
    :param origin: the field and target that name it, for an error.
    :param environment: in which the interpreter can be run.
    """

    path: str
    packages: tuple[NixPackage, ...]
    copied: tuple[NixPackage, ...]
    platforms: CompletePlatforms
    origin: str
    environment: EnvironmentNameRequest


@dataclass(frozen=True)
class Interpreter:
    """:param path: in the image.
    :param program: the file in the store that runs it; empty if no package of the image has it.
    :param version: of the language, such as `3.11.2`.
    :param platforms: the one platform that it is, as a file for pex.
    :param packages: what to realise to run it.
    :param environment: in which it can be run.
    """

    path: str
    program: str
    version: str
    platforms: CompletePlatforms
    packages: tuple[NixPackage, ...]
    environment: EnvironmentNameRequest

    @property
    def language(self) -> str:
        """The version that directories are named by, such as `3.11`."""
        return ".".join(self.version.split(".")[:2])


async def _said_by_pex(request: InterpreterRequest) -> Interpreter:
    """Returns an interpreter that only a platform of the PEX says something of."""
    if len(request.platforms) != 1:
        raise NixImageError(
            f"{request.origin} has `interpreter={request.path!r}`, which no package in `copy_to_root` brings, so "
            "what wheels it takes is not known. Name the interpreter of a package of the image, such as "
            '"{python}/bin/python3"; or give the `pex_binary` the one entry in `complete_platforms` that '
            "describes it (`pex3 interpreter inspect --markers --tags` prints that)."
        )
    (file,) = await contents(request.platforms.digest)
    try:
        version = language_version(parse_platform(file.content))
    except InvalidInputError as error:
        raise NixImageError(f"{request.origin}: {file.path} is no complete platform. {error}") from None
    return Interpreter(
        request.path, "", version, request.platforms, (), request.environment
    )


def _library() -> list[FileContent]:
    """Returns the package `packaging`, which the interpreter of an image asks about itself."""
    (directory,) = packaging.__path__
    files = [name for name in sorted(os.listdir(directory)) if name.endswith(".py")]
    return [
        FileContent(f"{_LIBRARY}/packaging/{name}", Path(directory, name).read_bytes())
        for name in files
    ]


@rule(desc="Look at interpreter")
async def find_interpreter(request: InterpreterRequest) -> Interpreter:
    if request.path.startswith(f"{STORE_DIR}/"):
        holders = tuple(
            package
            for package in request.packages
            if any(request.path.startswith(f"{path}/") for path in package.paths)
        )
        places = [request.path]
    else:
        holders = request.copied
        places = [f"{path}{request.path}" for package in holders for path in package.paths]
    if not holders:
        return await _said_by_pex(request)
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("python-interpreter", f"--library={_LIBRARY}", "--output=interpreter.json", *places),
                f"Look at {places[0]}",
                await create(_library()),
                output="interpreter.json",
                environment=request.environment,
            ),
            holders,
            ("InterpreterMissingError", "InterpreterFailedError"),
        ),
        **implicitly(),
    )
    if step.error.startswith("There is no interpreter") and not request.path.startswith(STORE_DIR):
        return await _said_by_pex(request)
    if step.error:
        raise NixImageError(
            f"{request.origin} has `interpreter={request.path!r}`: {step.error} It must be a Python of the "
            "image that this machine (or the environment of the target) can run."
        )
    program, platform = parse_interpreter(step.output)
    digest = await create([FileContent(_PLATFORM, platform_file(platform))])
    return Interpreter(
        request.path,
        program,
        language_version(platform),
        CompletePlatforms([_PLATFORM], digest=digest),
        holders,
        request.environment,
    )


def rules():
    return collect_rules()
