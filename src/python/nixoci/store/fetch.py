"""What Nix says of a fetch without a hash → which call it is, and how it is pinned."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

#: How pure mode refuses a fetch; the URL is in it since 2.19. Of all fetchers of trees, older versions
#: know but one name.
_REFUSED = re.compile(
    r"in pure evaluation mode, '(\w+)' (?:requires|will not fetch|doesn't fetch)"
    r"(?:[^'\n]*unlocked input '([^']*)')?"
    r"|cannot call '(getFlake)' on unlocked flake reference '([^']*)'"
)

#: A place as Nix writes it, within a message or a trace.
_PLACE = re.compile(r"\bat (/[^\n«»]*?):(\d{1,9}):(\d{1,9})")

#: Functions whose URL must be among `allowed-uris`, in every version.
URLS_ARE_CHECKED = ("fetchurl", "fetchTarball", "fetchMercurial")

_FORBIDDEN = re.compile(r"access to URI '([^']+)' is forbidden in restricted mode")

#: A call, as sources have it.
_FETCHER = re.compile(r"(?:builtins\.)?(fetch[A-Z]\w*|fetchurl|getFlake)\b")
_URL = re.compile(r"[a-z][a-z0-9+.-]*:[^\s\"';(){}<>]+")

#: Lines of a call in which its URL is looked for.
_LINES = 6

_PINS = {
    "fetchurl": "Give it the `sha256` that `nix-prefetch-url URL` prints",
    "fetchTarball": "Give it the `sha256` that `nix-prefetch-url --unpack URL` prints",
    "fetchGit": "Give it the whole `rev` of a commit, also where it has a `ref`",
    "fetchMercurial": "Give it the whole `rev` of a commit",
    "fetchTree": "Give it a `rev` or a `narHash`",
    "getFlake": "Name a whole commit (`?rev=…`) or a `narHash` in the reference",
}


@dataclass(frozen=True)
class UnpinnedFetch:
    """A call of a fetcher that has no hash.

    :param function: `fetchTarball`, ….
    :param url: that it fetches; empty if it is not known.
    :param place: `file:line:column` of the call, or of what asks for its result; empty if it is not known.
    """

    function: str
    url: str = ""
    place: str = ""

    def __str__(self) -> str:
        of = f" of {self.url}" if self.url else ""
        at = f" at {self.place}" if self.place else ""
        return f"`builtins.{self.function}`{of}{at}"

    @property
    def pin(self) -> str:
        """What to do, as sentences."""
        pin = _PINS.get(self.function, "Give it the hash of what it brings")
        return f"{pin}; or let npins (https://github.com/andir/npins) or the lock file of a flake pin it."


def forbidden_url(message: str) -> str:
    """Returns the URL that restricted mode keeps Nix from; empty if something else is wrong."""
    found = _FORBIDDEN.search(message)
    return found[1] if found else ""


def find_unpinned_fetch(message: str, root: str) -> Optional[UnpinnedFetch]:
    """Returns the fetch that Nix refuses since a hash is missing, or None if something else is wrong.

    :param message: of Nix 2.8 or newer, at best with `--show-trace`.
    :param root: of the sources, which the place is relative to.
    """
    refused = _REFUSED.search(message)
    if refused is None:
        return None
    function = refused[1] or refused[3]
    url = refused[2] or refused[4] or ""
    # Newer versions have the inmost call last, and the oldest ones have it first.
    places = list(_PLACE.finditer(message))
    before = [place for place in places if place.end() <= refused.start()]
    place = before[-1] if before else places[0] if places else None
    if place is None:
        return UnpinnedFetch(function, url)
    file = place[1]
    if file.startswith(root + os.sep):
        file = os.path.relpath(file, root)
    return UnpinnedFetch(function, url, f"{file}:{place[2]}:{place[3]}")


def read_call(fetch: UnpinnedFetch, root: str) -> UnpinnedFetch:
    """Returns `fetch` with what the sources say at its place, where Nix has said less.

    :param root: as for `find_unpinned_fetch`.
    """
    if fetch.url or not fetch.place:
        return fetch
    file, line, column = fetch.place.rsplit(":", 2)
    lines = _lines(os.path.join(root, file), int(line))
    call = " ".join([lines[0][int(column) - 1 :], *lines[1:]]) if lines else ""
    named = _FETCHER.match(call)
    if named is None:
        # The place may be that of what asks for the result.
        return fetch
    url = _URL.search(call)
    return UnpinnedFetch(
        named[1] if fetch.function == "fetchTree" else fetch.function,
        url[0] if url else "",
        fetch.place,
    )


def _lines(file: str, line: int) -> list[str]:
    """Returns the lines of a file from one on; none where it cannot be read."""
    try:
        with open(file, errors="replace") as opened:
            return opened.read().splitlines()[line - 1 :][:_LINES]
    except OSError:
        return []
