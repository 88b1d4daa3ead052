"""The command line client of a container engine: which one, and short questions to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from nixoci.engine.errors import EngineFailedError, EngineNotFoundError, EngineNotRunningError
from nixoci.errors import InvalidInputError, printable

#: In the order of preference: podman needs no daemon.
ENGINE_NAMES = ("podman", "docker")

#: What says most about a failure comes last.
_QUOTED_CHARACTERS = 2000
#: Seconds for an engine to say its version. Those in a virtual machine take a while.
_ANSWER_TIMEOUT = 60


@dataclass(frozen=True)
class Engine:
    """A container engine that answered.

    :param name: one of `ENGINE_NAMES`.
    :param program: absolute path of its client.
    :param environment: that it gets with a question; None for that of this process.
    """

    name: str
    program: str
    environment: Optional[Mapping[str, str]] = field(default=None, repr=False, compare=False)

    def ask(self, what: str, *words: str) -> str:
        """Runs one short command of the engine and returns its standard output.

        :param what: what it is asked for, for the error.
        :raises EngineFailedError: it failed.
        """
        result = self._run(*words)
        if result.returncode:
            raise EngineFailedError(self.program, what, quote_output(result.stderr))
        return result.stdout.decode(errors="replace")

    def image_id(
        self, digests: Sequence[str], manifest_type: Optional[str] = None
    ) -> Optional[str]:
        """Returns how the engine calls an image; None if it does not have it.

        :param digests: of its config, by which most engines know an image, and of its manifest, by
            which docker does whose images containerd keeps.
        :param manifest_type: media type that the manifest must have; None for any. It makes a difference
            to podman only, which reads a config as the manifest lets it.
        """
        # Docker keeps no manifest.
        manifest = " {{.ManifestType}}" if manifest_type and self.name == "podman" else ""
        for digest in digests:
            result = self._run("image", "inspect", "--format", "{{.Id}}" + manifest, digest)
            if result.returncode:
                continue
            identifier, _, found = result.stdout.decode(errors="replace").strip().partition(" ")
            # Podman leaves the name of the algorithm away.
            if identifier.rpartition(":")[2] in (
                digest.rpartition(":")[2] for digest in digests
            ) and (not manifest or found == manifest_type):
                return identifier
        return None

    def _run(
        self, *words: str, timeout: Optional[float] = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout,
            env=self.environment,
        )


def find_engine(chosen: Optional[str], environ: Mapping[str, str]) -> Engine:
    """Returns the engine to use: the chosen one, else the first of `ENGINE_NAMES` that answers.

    :raises InvalidInputError: `chosen` is the name of no engine.
    :raises EngineNotFoundError: it is not installed, or none is.
    :raises EngineNotRunningError: what is installed does not answer.
    """
    if chosen is not None and chosen not in ENGINE_NAMES:
        raise InvalidInputError("engine", chosen, f"expected {' or '.join(ENGINE_NAMES)}")
    names = ENGINE_NAMES if chosen is None else (chosen,)
    search_path = environ.get("PATH", "")
    answers = []
    for name in names:
        program = shutil.which(name, path=search_path)
        if program is None:
            continue
        # What is this process's own environment stays so, whatever changes in it later.
        own = environ is os.environ
        engine = Engine(name, os.path.abspath(program), None if own else dict(environ))
        # The answer of docker comes from its daemon, that of podman from its machine if it has one.
        question = "{{.Server.Version}}" if name == "docker" else "{{.Client.Version}}"
        try:
            result = engine._run("version", "--format", question, timeout=_ANSWER_TIMEOUT)
        except subprocess.TimeoutExpired:
            answers.append((engine.program, f"nothing in {_ANSWER_TIMEOUT} seconds"))
            continue
        if result.returncode == 0:
            return engine
        answers.append((engine.program, quote_output(result.stderr)))
    if answers:
        raise EngineNotRunningError(answers)
    raise EngineNotFoundError(names, search_path)


def quote_output(output: bytes) -> str:
    """Returns the end of what an engine printed, in one line that a terminal can show."""
    text = output.decode(errors="replace").strip()
    return printable(text[-_QUOTED_CHARACTERS:], _QUOTED_CHARACTERS)
