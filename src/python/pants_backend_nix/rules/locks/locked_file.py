"""What all kinds of files that pin something have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class LockChoice:
    """What is to move.

    :param inputs: by name; none: all.
    :param keep: nothing that is pinned moves, and what is missing is added.
    """

    inputs: tuple[str, ...] = ()
    keep: bool = False


@dataclass(frozen=True)
class LockedFile:
    """A file of the repository that pins something, looked at anew.

    :param path: from the root of the repository.
    :param target: that the user named, or that depends on what he named.
    :param content: what the file is to have; None if it stays as it is.
    :param moves: a line for each thing that has moved.
    :param names: of all that the file pins, by which the user can choose.
    :param notes: what else the user has to know.
    :param error: why it could not be looked at; then nothing else is known.
    """

    path: str
    target: str
    content: Optional[bytes] = None
    moves: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    error: str = ""
