"""Merges what the entries of a recipe bring to the image into one sorted stream.

The trees are walked together, directory by directory, so memory is bounded by the sizes of the
directories that several of them have. What only one of them has is left to its `Walker`. Directories in
directories are merged by generators, as that packs them.
"""

from __future__ import annotations

import os
import stat

from nixoci.descent import OPEN_FILE, Descent, run_nested
from nixoci.tar.errors import (
    DuplicateDestinationError,
    NotADirectoryInRootError,
)
from nixoci.tar.header import DIRECTORY, REGULAR, SYMLINK
from nixoci.tar.permissions import destination_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Optional, Union

    from nixoci.descent import Nested
    from nixoci.store.path import StorePath
    from nixoci.tar.output import Output
    from nixoci.tar.walk import EncodeHeader, Walker

    #: What one entry of the recipe, or several in the store, bring to a place of the image.
    Source = Union["Found", "Implied"]
    #: Kind, mode, size in bytes, link target: what a header says besides name and owner.
    Facts = tuple[bytes, int, int, bytes]

_IMPLIED_MODE = 0o755
_CHUNK_SIZE = 256 * 1024


class Implied:
    """A directory that is in the image only since something below it is.

    :param path: one of the store paths below it.
    :param contents: by name.
    """

    __slots__ = ("path", "contents")

    def __init__(self, path: StorePath, contents: dict[bytes, Source]) -> None:
        self.path = path
        self.contents = contents

    def children(self) -> Iterable[tuple[bytes, Source]]:
        """As `Found.children`; opens nothing."""
        return self.contents.items()

    def leave(self) -> None:
        """As `Found.leave`; there is nothing to do."""


class Found:
    """A store path, or something below one.

    :param walker: of the store path.
    :param source: its name in the directory that it is in, or where to find the store path.
    :param file: its path below the store path; empty for that itself.
    :param descent: the way down into the store path, which is at the directory that this is in
        whenever this is used.
    """

    __slots__ = ("walker", "source", "file", "descent")

    def __init__(
        self, walker: Walker, source: str, file: str = "", descent: Optional[Descent] = None
    ) -> None:
        self.walker = walker
        self.source = source
        self.file = file
        self.descent = Descent() if descent is None else descent

    @property
    def path(self) -> StorePath:
        return self.walker.path

    @property
    def parent(self) -> Optional[int]:
        """Descriptor of the directory that it is in; None for the store path."""
        return self.descent.descriptor

    def facts(self) -> Facts:
        """:raises StoreReadError: see its children."""
        status = self.walker.status(self.source, self.parent, self.file)
        if stat.S_ISDIR(status.st_mode):
            forced = self.walker.directory_mode
            mode = stat.S_IMODE(status.st_mode) if forced is None else forced
            return DIRECTORY, mode, 0, b""
        if stat.S_ISREG(status.st_mode):
            return REGULAR, self.walker.file_mode(status.st_mode), status.st_size, b""
        link = self.walker.link(status.st_mode, self.source, self.parent, self.file)
        return SYMLINK, 0o777, 0, link

    def children(self) -> Iterable[tuple[bytes, Source]]:
        """Enters a directory, and yields what in it goes into the image."""
        attempt, file = self.walker.attempt, self.file
        descriptor = attempt(file, self.descent.enter, self.source)
        below = f"{file}/" if file else ""
        names = self.walker.names(below, attempt(file, os.listdir, descriptor))
        for name, on_disk in names.items():
            yield os.fsencode(name), Found(self.walker, on_disk, below + name, self.descent)

    def leave(self) -> None:
        """Goes back to the directory that it is in."""
        self.walker.attempt(self.file, self.descent.leave)

    def pack(self, name: bytes) -> None:
        self.walker.pack(name, self.source, self.parent, self.file)

    def chunks(self) -> Iterator[bytes]:
        """The contents of a regular file, all chunks but the last of the same size."""
        attempt = self.walker.attempt
        descriptor = attempt(self.file, os.open, self.source, OPEN_FILE, dir_fd=self.parent)
        with open(descriptor, "rb") as file:
            while True:
                chunk: bytes = attempt(self.file, file.read, _CHUNK_SIZE)
                yield chunk
                if not chunk:
                    return


class Merger:
    """Packs several trees into one.

    :param encode: makes the headers of the directories that are merged.
    :param root: what all names start with; unless empty, the entry of the root as well.
    """

    def __init__(self, output: Output, encode: EncodeHeader, root: bytes) -> None:
        self._output = output
        self._encode = encode
        self._root = root

    def pack(self, trees: list[Source]) -> None:
        """Packs what the trees contain to the root of the image.

        :param trees: at most one is implied, and that is the last.
        :raises StoreReadError: see its children.
        :raises DuplicateDestinationError: two trees differ in what they bring to one place.
        """
        copied = [tree for tree in trees if isinstance(tree, Found)]
        for tree in copied:
            if tree.facts()[0] != DIRECTORY:
                raise NotADirectoryInRootError(tree.path)
        try:
            run_nested(self._pack_directory(self._root, _IMPLIED_MODE, trees))
        finally:
            for tree in copied:
                tree.descent.close()

    def _pack_directory(
        self, directory: bytes, mode: int, sources: list[Source]
    ) -> Nested:
        """Yields what packs a directory in this one.

        :param directory: its name in the tar, with a final slash unless it is empty.
        """
        found: dict[bytes, list[Source]] = {}
        for source in sources:
            for name, child in source.children():
                found.setdefault(name, []).append(child)
        # The root has an entry for the sake of what is in it, and none in some dialects.
        if directory and (found or directory != self._root):
            self._output.append(self._encode(directory, DIRECTORY, mode, 0, b""))
        for name in sorted(found):
            yield from self._pack_together(directory + name, found[name])
        for source in sources:
            source.leave()

    def _pack_together(self, name: bytes, sources: list[Source]) -> Nested:
        first, *others = sources
        if isinstance(first, Implied):
            # It is from the last of all trees, so it is alone.
            yield self._pack_directory(name + b"/", _IMPLIED_MODE, sources)
            return
        if not others:
            first.pack(name)
            return
        facts = first.facts()
        for other in others:
            if not _agree(first, facts, other):
                raise DuplicateDestinationError(destination_of(name), (first.path, other.path))
        if facts[0] == DIRECTORY:
            yield self._pack_directory(name + b"/", facts[1], sources)
        else:
            first.pack(name)


def _agree(one: Found, facts: Facts, other: Source) -> bool:
    """Whether two sources of one place can both have it.

    :param facts: of the first.
    """
    if isinstance(other, Implied):
        # Whoever brings the directory itself says what its mode is.
        return facts[0] == DIRECTORY
    if other.facts() != facts:
        return False
    return facts[0] != REGULAR or _same_contents(one, other)


def _same_contents(one: Found, other: Found) -> bool:
    """Compares two regular files of the same size."""
    return all(mine == theirs for mine, theirs in zip(one.chunks(), other.chunks()))
