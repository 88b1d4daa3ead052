"""The way down into a tree of directories, however deep it is.

What is in a directory is named relative to its descriptor, so that no path is too long for the system. Of
the directories above only the innermost are open, so that descriptors do not run out; and nothing calls
itself, so that neither does the stack.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import Any, Optional

    #: Yields generators of its kind.
    Nested = Generator[Any, None, None]

    #: A directory's path below the top, with a final slash (empty: the top), and the names in it on the disk
    #: → those names, by the ones that they are to have, in the order in which they are walked.
    Choose = Callable[[str, "list[str]"], Mapping[str, str]]

#: A pipe that took a file's place meanwhile must not block; on files the flag does nothing.
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

#: How many directories are open at a time. Several threads may have a way down each, and some systems give a
#: process 256 descriptors; trees that are deeper than this are rare.
MOST_OPEN = 32


class Descent:
    """Opens directories in one another. One that is closed meanwhile is found again from below.

    :ivar descriptor: of the directory that was entered last and is not left.
    """

    __slots__ = ("descriptor", "_open", "_closed")

    def __init__(self) -> None:
        self.descriptor: Optional[int] = None
        self._open: list[int] = []
        # Device and inode of those that are above all that are open.
        self._closed: list[tuple[int, int]] = []

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all that is open."""
        while self._open:
            os.close(self._open.pop())

    def enter(self, name: str, parent: Optional[int] = None) -> int:
        """Opens a directory in the one that was entered last, and returns its descriptor.

        :param parent: the directory that the first one is in; None if `name` is a path.
        :raises OSError: it is none, or cannot be opened.
        """
        inside = parent if self.descriptor is None else self.descriptor
        self.descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=inside)
        self._open.append(self.descriptor)
        if len(self._open) > MOST_OPEN:
            outermost = self._open.pop(0)
            try:
                self._closed.append(_identity(outermost))
            finally:
                os.close(outermost)
        return self.descriptor

    def leave(self) -> None:
        """Goes back to the directory that the last one is in, which may get another descriptor.

        :raises OSError: it was moved meanwhile.
        """
        left = self._open.pop()
        try:
            if self._closed and not self._open:
                self._open.append(os.open("..", _OPEN_DIRECTORY, dir_fd=left))
                if _identity(self._open[0]) != self._closed.pop():
                    raise OSError(errno.ESTALE, "it was moved while it was read")
        finally:
            os.close(left)
        self.descriptor = self._open[-1] if self._open else None


def run_nested(first: Nested) -> None:
    """Runs a generator that yields generators, each of which runs in its place: calls without a stack."""
    running = [first]
    try:
        while running:
            inner = next(running[-1], None)
            if inner is None:
                running.pop()
            else:
                running.append(inner)
    finally:
        while running:
            running.pop().close()


class Item(namedtuple("Item", ("path", "location", "name", "parent", "kind", "depth"))):
    """Something in a tree.

    :ivar path: below the top, of chosen names; empty for the top.
    :ivar location: the same on the disk; the path of the top for that itself.
    :ivar name: its name on the disk, in the directory `parent`; both are for use before the next item is asked for.
    :ivar kind: `stat.S_IFDIR`, `stat.S_IFLNK`, `stat.S_IFREG`, or 0 for any other.
    :ivar depth: how many directories it is in.
    """

    __slots__ = ()


def walk(top: str, choose: Choose) -> Iterator[Item]:
    """Yields what is at `top` and all below it, each directory before what is in it; follows no links.

    :raises OSError: something cannot be read: the last item, or something that it has in it.

    What `choose` raises comes out unchanged.
    """
    kind = stat.S_IFMT(os.lstat(top).st_mode)
    yield Item("", top, top, None, kind if kind in _KINDS else 0, 0)
    if kind != stat.S_IFDIR:
        return
    with Descent() as descent:
        waiting = [_items(descent.enter(top), "", f"{top}/", choose)]
        while waiting:
            below, above, items = waiting[-1]
            for name, on_disk, kind in items:
                path, location = below + name, above + on_disk
                yield Item(path, location, on_disk, descent.descriptor, kind, len(waiting))
                if kind == stat.S_IFDIR:
                    entered = descent.enter(on_disk)
                    waiting.append(_items(entered, f"{path}/", f"{location}/", choose))
                    break
            else:
                waiting.pop()
                descent.leave()


_KINDS = (stat.S_IFDIR, stat.S_IFLNK, stat.S_IFREG)


def _items(
    descriptor: int, below: str, above: str, choose: Choose
) -> tuple[str, str, Iterator[tuple[str, str, int]]]:
    """Returns the last two paths, and the chosen name, the name on the disk and the kind of what is there."""
    with os.scandir(descriptor) as found:
        kinds = {entry.name: _kind(entry) for entry in found}
    names = choose(below, list(kinds))
    return below, above, iter([(name, names[name], kinds[names[name]]) for name in names])


def _kind(entry: os.DirEntry[str]) -> int:
    # Mostly known without another system call.
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFLNK if entry.is_symlink() else 0


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
