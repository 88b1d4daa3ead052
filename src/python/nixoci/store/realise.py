"""Makes store paths valid: from their derivation, else by evaluating again, else by substituters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack

from nixoci.atomic import output_errors
from nixoci.children import child
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.store.evaluate import Derivation
from nixoci.store.messages.activities import Activities
from nixoci.store.nix import Nix, without_missing_build_group
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Callable, Optional, Sequence

    from nixoci.store.messages.machine import MissingMachine

    #: Gets what Nix builds and fetches, and how much is left, in one line, each time that it is another one; in the
    #: end an empty one.
    ShowWork = Callable[[str], object]

#: The list of outputs, which a derivation's file begins with, and one of them: its name, its path
#: (empty while it depends on the contents), and two fields for fixed outputs (libstore/derivations.cc).
_DRV_OUTPUTS = re.compile(rb'Derive\(\[((?:\("[^"]*","[^"]*","[^"]*","[^"]*"\),?)*)\]')
_DRV_OUTPUT = re.compile(rb'\("([^"]+)","(/[^"]+)","[^"]*","[^"]*"\)')

#: Lines of a failed build's output that the error repeats.
_LOG_LINES = 30

#: Lines of that output that are looked through for what belongs to one of several builds.
_KEPT_LINES = 2000

#: Seconds after which it is shown again how far Nix is, if only some bytes more were fetched.
_INTERVAL = 1.0

class BuildFailedError(NixOciError):
    """A derivation failed to build. `log` is the end of what the build printed."""

    def __init__(self, wanted: Sequence[str], log: str) -> None:
        self.wanted = tuple(wanted)
        self.log = log
        super().__init__(f"Nix could not build {', '.join(wanted)}:", log)


class NoMachineError(BuildFailedError):
    """No machine that Nix knows of can build a derivation: it is for another system, or needs features of one.

    :param missing: which derivation, and what it takes.
    """

    def __init__(self, wanted: Sequence[str], log: str, missing: MissingMachine) -> None:
        self.wanted = tuple(wanted)
        self.log = log
        self.system = missing.system
        self.machine = missing.machine
        named = any(word.partition("!")[0] == missing.drv_path for word in wanted)
        self.why = f"it {missing.why}" if named else f"it needs {missing.drv_path}, which {missing.why}"
        self.way_out = missing.way_out
        NixOciError.__init__(
            self, f"Nix could not build {', '.join(wanted)}: {self.why}. {self.way_out}"
        )


class NotBuildableError(NixOciError):
    """A store path is not valid here, no derivation is known for it and no substituter has it."""

    def __init__(self, paths: Sequence[StorePath], log: str) -> None:
        self.paths = tuple(paths)
        self.log = log
        super().__init__(
            f"{', '.join(paths)}: not valid in this Nix store, and no substituter has it.", log
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
    realise_paths(nix, derivation, paths, evaluate_again, log_file)
    return paths


def realise_paths(
    nix: Nix,
    derivation: Derivation,
    paths: Sequence[StorePath],
    evaluate_again: Optional[Callable[[], Derivation]],
    log_file: Optional[str] = None,
    show: Optional[ShowWork] = None,
) -> None:
    """Makes `paths` valid, and of the rest only what Nix needs for that.

    :param derivation: has the paths as outputs, or what it depends on has. Without a derivation of
        its own it stands for paths that substituters have.
    :param evaluate_again: and `log_file`, as for `realise`.
    :param show: sees how far Nix is. The log then goes to its file alone, if there is one.
    :raises BuildFailedError: and others, as `realise`.
    """
    drv_paths = [] if derivation.drv_path is None else [derivation.drv_path]
    # One question for all: each start of Nix takes as long as a small build.
    invalid = set(nix.invalid([*paths, *drv_paths]))
    missing = [path for path in paths if path in invalid]
    if not missing:
        return
    echo = show is None or log_file is None
    if derivation.drv_path is None:
        status, log = run_realise(nix, missing, log_file, show=show, echo=echo)
        if status:
            raise NotBuildableError(nix.invalid(missing), end_of_log(log))
        return
    if derivation.drv_path in invalid and evaluate_again is not None:
        found = evaluate_again()
        if found.drv_path != derivation.drv_path or found.outputs != derivation.outputs:
            raise OutputChangedError(derivation, found)
    made_by = {path: f"{derivation.drv_path}!{name}" for name, path in derivation.outputs}
    if not made_by.keys() >= set(missing):
        made_by.update(_outputs_of_dependencies(nix, derivation.drv_path))
    # What no derivation makes is a source, which evaluation has added, or comes from elsewhere.
    wanted = [made_by.get(path, path) for path in missing]
    status, log = run_realise(nix, wanted, log_file, show=show, echo=echo)
    if status:
        raise build_failure(wanted, log)


def _outputs_of_dependencies(nix: Nix, drv_path: StorePath) -> dict[StorePath, str]:
    """Returns how each output of a derivation and of those that it depends on is realised.

    :raises NixFailedError: the derivation is not valid.
    """
    found = {}
    requisites = nix.run(("nix-store", "--query", "--requisites", drv_path)).decode().split()
    for path in map(StorePath.parse, requisites):
        if not path.endswith(".drv"):
            continue
        with open(nix.store_root + path, "rb") as file:
            outputs = _DRV_OUTPUTS.match(file.read())
        for name, output in _DRV_OUTPUT.findall(outputs[1] if outputs else b""):
            found[StorePath.parse(output.decode())] = f"{path}!{name.decode()}"
    return found


def run_realise(
    nix: Nix,
    wanted: Sequence[str],
    log_file: Optional[str],
    more: Sequence[str] = (),
    *,
    show: Optional[ShowWork] = None,
    echo: bool = True,
) -> tuple[int, Sequence[str]]:
    """Runs `nix-store --realise`, passing its log on.

    :param wanted: store paths, and outputs of derivations: `DRV!OUTPUT`.
    :param more: options of Nix.
    :param show: sees how far Nix is.
    :param echo: the log goes to standard error as well.
    :returns: its exit status, and the last lines of its log.
    """
    tail: deque[bytes] = deque(maxlen=_KEPT_LINES)
    read: Callable[[bytes], bytes] = bytes if show is None else _shown(show)
    log_format = () if show is None else ("--log-format", "internal-json")
    with ExitStack() as stack:
        outputs: dict[str, IO[bytes]] = {"standard error": sys.stderr.buffer} if echo else {}
        if log_file is not None:
            outputs[log_file] = stack.enter_context(_open_log(log_file))
        process = stack.enter_context(
            child(
                nix.words(
                    (
                        *("nix-store", "--realise", *wanted, *more, *log_format),
                        *without_missing_build_group(nix),
                    )
                ),
                env=dict(nix.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        )
        assert process.stderr is not None
        for line in process.stderr:
            text = read(line)
            if not text:
                continue
            tail.extend(text.splitlines(keepends=True))
            for name, output in outputs.items():
                with output_errors(name):
                    output.write(text)
                    output.flush()
    if show is not None:
        show("")
    return process.returncode, [line.decode(errors="replace").rstrip("\n") for line in tail]


def _shown(show: ShowWork) -> Callable[[bytes], bytes]:
    """Returns what takes lines of Nix, shows how far it is, and returns what of them is its log."""
    activities = Activities()
    steps, words, shown = 0, "", time.monotonic()

    def read(line: bytes) -> bytes:
        nonlocal steps, words, shown
        text = activities.read(line)
        now = time.monotonic()
        if activities.steps != steps or now - shown >= _INTERVAL:
            steps, shown = activities.steps, now
            if activities.words() not in ("", words):
                words = activities.words()
                show(words)
        return text

    return read


def build_failure(wanted: Sequence[str], log: Sequence[str]) -> BuildFailedError:
    """Returns the error that says why a build has failed.

    :param wanted: as of `run_realise`; `log`, what it returned.
    """
    from nixoci.store.messages.machine import missing_machine

    missing = missing_machine("\n".join(log))
    if missing is not None:
        return NoMachineError(wanted, end_of_log(log), missing)
    return BuildFailedError(wanted, end_of_log(log))


def end_of_log(log: Sequence[str]) -> str:
    """Returns what an error repeats of a log."""
    return "\n".join(log[-_LOG_LINES:]).rstrip()


def _open_log(path: str) -> IO[bytes]:
    with output_errors(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        # Unbuffered, so that closing it does not fail again.
        return open(path, "wb", buffering=0)
