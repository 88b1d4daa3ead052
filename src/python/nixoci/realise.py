"""Makes store paths valid: from their derivation, else by evaluating again, else by substituters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from contextlib import ExitStack
from typing import BinaryIO, Callable, Optional, Sequence

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.evaluate import Derivation
from nixoci.nix import Nix
from nixoci.store_path import StorePath

#: Lines of a failed build's output that the error repeats.
_LOG_LINES = 30


class BuildFailedError(NixOciError):
    """A derivation failed to build. `log` is the end of what the build printed."""

    def __init__(self, wanted: Sequence[str], log: str) -> None:
        self.wanted = tuple(wanted)
        self.log = log
        super().__init__(f"Nix could not build {', '.join(wanted)}:\n{log}")


class NotBuildableError(NixOciError):
    """A store path is not valid here, no derivation is known for it and no substituter has it."""

    def __init__(self, paths: Sequence[StorePath], log: str) -> None:
        self.paths = tuple(paths)
        self.log = log
        super().__init__(
            f"{', '.join(paths)}: not valid in this Nix store, and no substituter has it.\n{log}"
        )


class OutputChangedError(NixOciError):
    """Evaluating again gave other outputs than the recorded ones."""

    def __init__(self, recorded: Derivation, found: Derivation) -> None:
        self.recorded = recorded
        self.found = found
        super().__init__(
            f"Evaluation gave {found.drv_path}, where {recorded.drv_path} is recorded. The sources "
            "do not determine the result: look for what differs between the two machines."
        )


def realise(
    nix: Nix,
    derivation: Derivation,
    outputs: Sequence[str],
    evaluate_again: Optional[Callable[[], Derivation]],
    log_file: Optional[str] = None,
) -> tuple[StorePath, ...]:
    """Makes the named outputs of `derivation` valid and returns their paths.

    Build logs go to standard error while they are written.

    :param log_file: gets all that Nix says, while it says it.
    :param evaluate_again: makes the derivation valid where it is not, from the sources.
    :raises BuildFailedError: with the end of the log.
    :raises NotBuildableError: there is no derivation, and the path cannot be substituted.
    :raises OutputChangedError: evaluating again did not give `derivation`.
    :raises InvalidInputError: it has no output of that name.
    """
    by_name = dict(derivation.outputs)
    for name in outputs:
        if name not in by_name:
            raise InvalidInputError("output", name, f"outputs are {sorted(by_name)}")
    paths = tuple(by_name[name] for name in outputs)
    drv_paths = [] if derivation.drv_path is None else [derivation.drv_path]
    # One question for all: each start of Nix takes as long as a small build.
    invalid = set(nix.invalid([*paths, *drv_paths]))
    if not invalid.intersection(paths):
        return paths
    if derivation.drv_path is None:
        status, log = _realise(nix, paths, log_file)
        if status:
            raise NotBuildableError(nix.invalid(paths), log)
        return paths
    if derivation.drv_path in invalid and evaluate_again is not None:
        found = evaluate_again()
        if found.drv_path != derivation.drv_path or found.outputs != derivation.outputs:
            raise OutputChangedError(derivation, found)
    wanted = [f"{derivation.drv_path}!{name}" for name in outputs]
    status, log = _realise(nix, wanted, log_file)
    if status:
        raise BuildFailedError(wanted, log)
    return paths


def without_missing_build_group(nix: Nix) -> tuple[str, ...]:
    """Returns options for a Nix that root runs on a machine where Nix's build users do not exist.

    Debian's nix-bin and most container images come without the group `nixbld`; Nix, run by root,
    then refuses to build although it need not (the empty group means: build as root).
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or nix.environment.get("NIX_REMOTE") == "daemon":
        return ()
    import grp

    settings = nix.command("show-config").decode(errors="replace")
    match = re.search(r"^build-users-group = (\S+)$", settings, re.MULTILINE)
    if match is None:
        return ()
    try:
        grp.getgrnam(match[1])
    except KeyError:
        return ("--option", "build-users-group", "")
    return ()


def _realise(nix: Nix, wanted: Sequence[str], log_file: Optional[str]) -> tuple[int, str]:
    """Runs `nix-store --realise`, passing its log on; returns exit status and the log's end."""
    tail: deque[bytes] = deque(maxlen=_LOG_LINES)
    with ExitStack() as stack:
        outputs = [sys.stderr.buffer]
        if log_file is not None:
            outputs.append(stack.enter_context(_open_log(log_file)))
        process = stack.enter_context(
            subprocess.Popen(
                nix.words(("nix-store", "--realise", *wanted, *without_missing_build_group(nix))),
                env=dict(nix.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        )
        assert process.stderr is not None
        for line in process.stderr:
            tail.append(line)
            for output in outputs:
                output.write(line)
                output.flush()
    return process.returncode, b"".join(tail).decode(errors="replace").rstrip()


def _open_log(path: str) -> BinaryIO:
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return open(path, "wb")
    except OSError as error:
        raise NixOciError(f"Cannot write the log {path}: {error.strerror}.") from None
