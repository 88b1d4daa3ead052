"""Why an evaluation failed: what Nix says of it, and what it says when it is asked again."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from nixoci.errors import InvalidInputError
from nixoci.json_input import read_all
from nixoci.store.fetch import (
    URLS_ARE_CHECKED,
    find_unpinned_fetch,
    forbidden_url,
    read_call,
)
from nixoci.store.locks.names import FLAKE, FLAKE_LOCK
from nixoci.store.locks.outdated import inputs_expression, is_refused, missing_inputs
from nixoci.store.messages.evaluation import (
    EvaluationError,
    ImportFromDerivationError,
    NoSuchAttributeError,
    OutdatedLockError,
    UndeclaredSourceError,
    UnpinnedFetchError,
)
from nixoci.store.messages.sources import copied_flake
from nixoci.store.messages.trace import read_failure
from nixoci.store.nix import NixFailedError
from nixoci.store.path import STORE_DIR

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from nixoci.store.fetch import UnpinnedFetch

#: How Nix says that it may not or cannot read a file.
_UNREADABLE = re.compile(
    r"access to (?:absolute )?path '([^']+)' is forbidden"
    r"|(?:getting status of|opening file|path) '([^']+)'(?:: No such file| does not exist)"
)

#: With `error:`, since newer Nix shows lines of `DESCRIBE` where evaluating the value fails.
_NOT_A_DERIVATION = "error: nixoci: not a derivation"

#: So many fetches with hashes are told from one without.
_MOST_URLS = 20

#: A path to which one comes when one goes up from the copy of a flake in the store.
_ABOVE = re.compile(rf"{os.path.dirname(STORE_DIR)}/")

_STORE_PATH = re.compile(rf"{STORE_DIR}/[0-9a-z]{{32}}-")


def explain(
    message: str,
    root: str,
    source: str,
    attr: str,
    run: Callable[..., bytes],
    value: Callable[[str], bytes],
) -> EvaluationError:
    """Turns Nix's message into the error that says what to do.

    :param message: standard error of an evaluation of an attribute of the file `source` below `root`.
    :param run: evaluates again, with further options of Nix.
    :param value: evaluates another expression that reads the sources, as JSON.
    """
    if os.path.basename(source) == FLAKE:
        lock = os.path.join(os.path.dirname(source), FLAKE_LOCK)
        missing = _missing_inputs(root, source, lock, value)
        if missing or is_refused(message):
            shown = read_failure(message, {root: ""}).text
            return OutdatedLockError(source, attr, shown, lock, missing)
    return _explain(message, root, source, attr, _unpinned_fetch(run, message, root))


def _explain(
    message: str, root: str, source: str, attr: str, fetch: Optional[UnpinnedFetch]
) -> EvaluationError:
    """:param fetch: the call without a hash that the evaluation fails at, if that is why."""
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


def _missing_inputs(
    root: str, source: str, lock: str, value: Callable[[str], bytes]
) -> tuple[str, ...]:
    """Returns the inputs of a flake that its lock file lacks; none where that cannot be told."""
    try:
        names = value(inputs_expression(os.path.join(root, source)))
        path = os.path.join(root, lock)
        content = b""
        if os.path.exists(path):
            with open(path, "rb") as file:
                content = read_all(file, lock)
    except (NixFailedError, OSError, InvalidInputError):
        return ()
    return missing_inputs(names, content)


def _unpinned_fetch(
    run: Callable[..., bytes], message: str, root: str
) -> Optional[UnpinnedFetch]:
    """Returns the fetch without a hash at which an evaluation has failed, if that is why.

    :param run: evaluates again, with further options of Nix.
    """
    fetch = find_unpinned_fetch(message, root)
    if fetch is None or fetch.url:
        return fetch
    if fetch.function in URLS_ARE_CHECKED:
        fetch = replace(fetch, url=_last_url(run))
    return read_call(fetch, root)


def _last_url(run: Callable[..., bytes]) -> str:
    """Returns the URL at which an evaluation fails since a hash is missing; empty if that is not to be found out.

    Whether a URL is allowed is asked before whether it has a hash. So it is the last one of those that have
    to be allowed until the evaluation fails for another reason.
    """
    allowed: list[str] = []
    while len(allowed) < _MOST_URLS:
        url = forbidden_url(_failure(run, "--option", "allowed-uris", " ".join(allowed)))
        if not url:
            return allowed[-1] if allowed else ""
        if url in allowed:
            break
        allowed.append(url)
    return ""


def _failure(run: Callable[..., bytes], *more: str) -> str:
    try:
        run(*more)
    except NixFailedError as error:
        return error.message
    return ""
