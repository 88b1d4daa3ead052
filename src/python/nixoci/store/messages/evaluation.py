"""Why an evaluation failed, as errors that say what to do."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Optional, Sequence

from nixoci.errors import NixOciError
from nixoci.store.fetch import UnpinnedFetch
from nixoci.store.locks.lock_file import FLAKE
from nixoci.store.messages.sources import copied_flake
from nixoci.store.messages.trace import read_failure
from nixoci.store.path import STORE_DIR

#: How Nix says that it may not or cannot read a file.
_UNREADABLE = re.compile(
    r"access to (?:absolute )?path '([^']+)' is forbidden"
    r"|(?:getting status of|opening file|path) '([^']+)'(?:: No such file| does not exist)"
)

#: With `error:`, since newer Nix shows lines of `DESCRIBE` where evaluating the value fails.
_NOT_A_DERIVATION = "error: nixoci: not a derivation"


class EvaluationError(NixOciError):
    """Nix could not evaluate the sources. `message` is Nix's own, as `store.messages` has it.

    :ivar place: where in the sources, from their root: `file:line:column`; empty where Nix does not tell.
    """

    def __init__(
        self, source: str, attr: str, message: str, sentences: str = "", place: str = ""
    ) -> None:
        self.source = source
        self.attr = attr
        self.message = message
        self.place = place
        at = f", at {place}" if place else ""
        super().__init__(
            sentences or f"Nix could not evaluate {attr or 'the value'} of {source}{at}:", message
        )


class NoSuchAttributeError(EvaluationError):
    """The source has no such attribute, or it is no derivation."""


class UndeclaredSourceError(EvaluationError):
    """Evaluation reads a file that is not among the sources. `path` says which one."""

    def __init__(self, source: str, attr: str, message: str, path: str, place: str = "") -> None:
        super().__init__(source, attr, message, place=place)
        self.path = path


class UnpinnedFetchError(EvaluationError):
    """Evaluation fetches something of which no hash is known beforehand.

    :ivar function: of Nix that fetches; `url` is empty where Nix does not tell.
    """

    def __init__(self, source: str, attr: str, message: str, fetch: UnpinnedFetch) -> None:
        self.function = fetch.function
        self.url = fetch.url
        self.pin = fetch.pin
        super().__init__(
            source,
            attr,
            message,
            f"{attr or 'The value'} of {source} fetches without a hash: {fetch}. What is fetched can be "
            f"something else tomorrow. {fetch.pin} Nix says:",
            fetch.place,
        )


class OutdatedLockError(EvaluationError):
    """The lock file of the flake lacks inputs, or there is none.

    :ivar lock: the lock file, from the root; `missing`: the inputs that it lacks, where Nix can tell.
    """

    def __init__(
        self, source: str, attr: str, message: str, lock: str, missing: Sequence[str]
    ) -> None:
        self.lock = lock
        self.missing = tuple(missing)
        what = f" the inputs {', '.join(missing)}" if missing else " inputs as they are now"
        super().__init__(
            source,
            attr,
            message,
            f"{lock} does not lock{what}, which {source} has. Lock them (`nix flake lock`). Nix says:",
        )


class ImportFromDerivationError(EvaluationError):
    """Evaluation would have to build something to go on, and may not."""


class UnknownOutputPathError(EvaluationError):
    """The derivation's output paths depend on what it, or something that it needs, is built to.

    :ivar causes: the derivations that are the reason, where they can be told; `impure`: one of them is that, and
        not merely content-addressed.
    :ivar is_dependency: they are others than the derivation itself.
    """

    def __init__(
        self, source: str, attr: str, causes: Sequence[str], impure: bool, is_dependency: bool
    ) -> None:
        self.causes = tuple(causes)
        self.impure = impure
        self.is_dependency = is_dependency
        named = f" ({', '.join(causes)})" if causes else ""
        super().__init__(
            source,
            attr,
            "",
            f"{attr or 'The value'} of {source} has no output path before something is built: there is a "
            f"derivation that is content-addressed without a hash, impure or dynamic{named}. Make it an "
            "input-addressed or a fixed-output derivation.",
        )


def explain(
    message: str, root: str, source: str, attr: str, fetch: Optional[UnpinnedFetch]
) -> EvaluationError:
    """Turns Nix's message into the error that says what to do.

    :param message: standard error of an evaluation of an attribute of the file `source` below `root`.
    :param fetch: the call without a hash that it fails at, if that is why.
    """
    sources = {root: ""}
    if os.path.basename(source) == FLAKE:
        below = os.path.join(os.path.dirname(source), "")
        copy = copied_flake(os.path.join(root, below))
        sources.update({copy: below} if copy else {})
    failure = read_failure(message, sources)
    shown, place = failure.text, failure.place
    if _NOT_A_DERIVATION in shown:
        return NoSuchAttributeError(source, attr, f"{attr or 'The value'} is not a derivation.")
    if "allow-import-from-derivation" in shown:
        return ImportFromDerivationError(source, attr, shown, place=place)
    if "in selection path" in shown or "does not provide attribute" in shown:
        return NoSuchAttributeError(source, attr, shown)
    if fetch is not None:
        known = fetch.place or place
        for directory, name in sources.items():
            known = known.replace(directory + os.sep, name)
        return UnpinnedFetchError(source, attr, shown, replace(fetch, place=known))
    match = _UNREADABLE.search(shown)
    if match is None:
        return EvaluationError(source, attr, shown, place=place)
    path = match[1] or match[2]
    if os.path.basename(source) == FLAKE:
        path = _above_flake(path, os.path.dirname(source), root) or path
    return UndeclaredSourceError(source, attr, shown, path, place)


#: A path to which one comes when one goes up from the copy of a flake in the store.
_ABOVE = re.compile(rf"{os.path.dirname(STORE_DIR)}/")

_STORE_PATH = re.compile(rf"{STORE_DIR}/[0-9a-z]{{32}}-")


def _above_flake(path: str, directory: str, root: str) -> str:
    """Returns where in the sources that is what Nix takes for something beside the copy of a flake; empty if nowhere.

    :param directory: of the flake, in the sources below `root`.
    """
    relative = os.path.relpath(path, os.path.join(STORE_DIR, "copy"))
    found = os.path.normpath(os.path.join(directory, relative))
    if _STORE_PATH.match(path) or found.startswith(".."):
        return ""
    # Further up it may be a file of this machine.
    is_ours = _ABOVE.match(path) or os.path.lexists(os.path.join(root, found))
    return found if is_ours else ""
