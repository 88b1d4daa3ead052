"""What can go wrong with a container engine."""

from __future__ import annotations

from typing import Sequence

from nixoci.errors import NixOciError


class EngineNotFoundError(NixOciError):
    """No container engine is installed.

    :param names: of the programs that were looked for.
    :param search_path: the value of PATH.
    """

    def __init__(self, names: Sequence[str], search_path: str) -> None:
        self.names = tuple(names)
        self.search_path = search_path
        super().__init__(
            f"No container engine: looked for {' and '.join(names)} in "
            f"{search_path or 'an empty PATH'}. Install one, or name the one to use."
        )


class EngineNotRunningError(NixOciError):
    """Engines are installed, and none of them answers.

    :param answers: program and what it said, for each.
    """

    def __init__(self, answers: Sequence[tuple[str, str]]) -> None:
        self.answers = tuple(answers)
        said = " ".join(f"{program} says: {answer or 'nothing'}" for program, answer in answers)
        super().__init__(
            "No container engine answers. Start its daemon or machine, and look whether you may "
            f"use its socket and which of its variables (DOCKER_HOST, CONTAINER_HOST) is set. {said}"
        )


class EngineFailedError(NixOciError):
    """An engine did not do what it was asked to.

    :param program: path of its client.
    :param what: what it was asked for, as `to pull the image`.
    :param output: the end of what it printed.
    """

    def __init__(self, program: str, what: str, output: str) -> None:
        self.program = program
        self.what = what
        self.output = output
        super().__init__(f"{program} was asked {what}, and failed: {output or 'it said nothing'}")
