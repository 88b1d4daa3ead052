"""Passwords and tokens of this process: nothing that is quoted in a message may have them."""

from __future__ import annotations

# This is `threading.Lock`, without half a millisecond for importing that module.
from _thread import allocate_lock

#: What stands in their place.
REMOVED = "[secret]"

#: What is shorter is told by its absence: characters.
_SHORTEST = 4

#: So many are known at most; what was not used for the longest time is forgotten first.
_MOST = 1_000

_known: dict[str, None] = {}
_lock = allocate_lock()


def add_secrets(*secrets: str) -> None:
    """Takes note of secrets that are about to be used, and of how URLs and forms have them.

    :param secrets: those of less than four characters are passed over.
    """
    from urllib.parse import quote, quote_plus

    for secret in secrets:
        if len(secret) < _SHORTEST:
            continue
        raw = secret.encode(errors="replace")
        with _lock:
            for text in (secret, quote(raw, safe=""), quote_plus(raw)):
                _known.pop(text, None)
                _known[text] = None
            while len(_known) > _MOST:
                del _known[next(iter(_known))]


def without_secrets(text: str) -> str:
    """Returns `text` with `REMOVED` in the place of every secret that is known."""
    with _lock:
        found = [secret for secret in _known if secret in text]
    if not found:
        return text
    import re

    # The longest first, as one may begin with another.
    return re.sub("|".join(map(re.escape, sorted(found, key=len, reverse=True))), REMOVED, text)
