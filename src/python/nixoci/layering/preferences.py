"""What a user may say about a split: how often packages change, what was pushed before, groups."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.store.path import StorePath


@dataclass(frozen=True)
class Preferences:
    """Facts beside the closure graph that a strategy may use; each strategy says which it does.

    :param rates: pairs of a shell pattern and how often a store path that it matches changes by
        itself, compared with 1 for a path that no pattern matches. A pattern is matched against
        the path and against its name; the first that matches counts.
    :param previous: the store paths of the layers of an earlier build, of which a registry has the
        blobs. Empty: nothing is known.
    :param groups: shell patterns, as in `rates`; what a group matches shares a layer.
    :param first_party: the paths that are built from the user's own sources.
    """

    rates: tuple[tuple[str, float], ...] = ()
    previous: tuple[tuple[StorePath, ...], ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    first_party: frozenset[StorePath] = frozenset()


def matches(pattern: str, path: StorePath) -> bool:
    """Returns whether a shell pattern (`*`, `?`, `[…]`) matches a store path or its name."""
    # The matcher is only needed by who gives patterns.
    from fnmatch import fnmatchcase

    return fnmatchcase(path.name, pattern) or fnmatchcase(path, pattern)
