"""A copy of a flake → its lock file as Nix updates it. Here alone Nix may look up what nothing pins."""

from __future__ import annotations

import os
import re

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import read_all
from nixoci.store.evaluate import prepare
from nixoci.store.locks.lock_file import parse_lock
from nixoci.store.locks.names import FLAKE_LOCK
from nixoci.store.nix import Nix, NixFailedError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

#: The name of an input, or of an input of an input (`flake/flakeref.cc`).
_INPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_'-]*(/[A-Za-z_][A-Za-z0-9_'-]*)*")

#: How Nix says of which input it speaks. Of several in one another, it is the longest path.
_FAILED_INPUT = re.compile(r"while updating the flake input '([^'\n]+)'")

#: Since when `nix flake update` takes names of inputs; before that, `nix flake lock` does.
_UPDATES_INPUTS = (2, 19)

#: Whatever the user has set: what is no commit cannot be locked, an update asks the world and not a cache, and the
#: flake sets nothing.
_OPTIONS = (
    *("--option", "allow-dirty", "false"),
    *("--option", "tarball-ttl", "0"),
    *("--option", "accept-flake-config", "false"),
)


class LockFailedError(NixOciError):
    """Nix could not lock a flake. `message` is Nix's own.

    :ivar source: the `flake.nix`, from the root; `input`: the input that it is about, as far as Nix says so.
    """

    def __init__(self, source: str, message: str, input: str = "") -> None:
        self.source = source
        self.message = message
        self.input = input
        what = f"the input {input}" if input else "the inputs"
        super().__init__(f"Nix could not lock {what} of {source}:", message)


def update_lock(
    nix: Nix,
    *,
    root: str,
    source: str,
    inputs: Sequence[str] = (),
    keep: bool = False,
    features: Sequence[str] = (),
) -> bytes:
    """Updates the lock file of a flake, and returns it; empty if the flake has no inputs.

    Registries, caches of fetchers and access tokens are those of the user.

    :param root: directory of a copy of the sources; modes and modification times in it are set as for `evaluate`, and
        the lock file is written there.
    :param source: path of the `flake.nix` below `root`.
    :param inputs: those to update, by their paths; what is missing is added. None: all of them.
    :param keep: all that is locked stays, and what is missing is added.
    :param features: experimental features of Nix.
    :raises LockFailedError: Nix refuses.
    :raises InvalidInputError: no path of an input, or the `root` can be no copy.
    :raises UndeclaredSourceError: there is no such flake.
    """
    for path in inputs:
        if not _INPUT.fullmatch(path):
            raise InvalidInputError("input", path, "expected a name, or names with slashes between them")
    root, directory = prepare(root, source, "", True)
    lock = os.path.join(directory, FLAKE_LOCK)
    words: tuple[str, ...] = ("flake", "lock", "path:.")
    if inputs and _version(nix) >= _UPDATES_INPUTS:
        words = ("flake", "update", *inputs, "--flake", "path:.")
    elif inputs:
        words += tuple(word for path in inputs for word in ("--update-input", path))
    try:
        if not inputs and not keep and os.path.lexists(lock):
            os.unlink(lock)
        nix.command(
            *words,
            *_OPTIONS,
            # Older versions do not say without it which input they failed at.
            "--show-trace",
            *("--extra-experimental-features", " ".join(features)),
            directory=directory,
        )
        content = _read(lock)
    except NixFailedError as error:
        # What git says comes before what Nix says.
        message = error.message.replace(root + os.sep, "")
        failed = max(_FAILED_INPUT.findall(message), key=len, default="")
        raise LockFailedError(source, message, failed) from None
    except OSError as error:
        raise NixOciError(f"{source}: its lock file cannot be updated: {error.strerror}.") from None
    if content:
        parse_lock(content)
    return content


def _version(nix: Nix) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", nix.version())[:2])


def _read(lock: str) -> bytes:
    try:
        with open(lock, "rb") as file:
            return read_all(file, FLAKE_LOCK)
    except FileNotFoundError:
        return b""
