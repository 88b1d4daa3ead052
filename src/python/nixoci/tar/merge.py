"""Merges what the entries of a recipe bring to the image into one sorted stream.

The trees are walked together, directory by directory, so memory is bounded by the sizes of the
directories that several of them have. What only one of them has is left to its `Walker`.
"""

from __future__ import annotations

import os
import stat

from nixoci.tar.errors import (
    DuplicateDestinationError,
    NotADirectoryInRootError,
    StorePathUnreadableError,
)
from nixoci.tar.header import DIRECTORY, REGULAR, SYMLINK
from nixoci.tar.permissions import destination_of
from nixoci.tar.walk import OPEN_DIRECTORY, OPEN_FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Optional, Union

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

    def children(self, descriptors: list[int]) -> Iterable[tuple[bytes, Source]]:
        """As `Found.children`; opens nothing."""
        return self.contents.items()


class Found:
    """A store path, or something below one.

    :param walker: of the store path.
    :param source: its name in `parent`, or where to find it.
    :param parent: descriptor of the directory that it is in.
    :param file: its path below the store path; empty for that itself.
    """

    __slots__ = ("walker", "source", "parent", "file")

    def __init__(
        self, walker: Walker, source: str, parent: Optional[int] = None, file: str = ""
    ) -> None:
        self.walker = walker
        self.source = source
        self.parent = parent
        self.file = file

    @property
    def path(self) -> StorePath:
        return self.walker.path

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

    def children(self, descriptors: list[int]) -> Iterable[tuple[bytes, Source]]:
        """Returns what is in a directory and goes into the image.

        :param descriptors: gets those that must be open while the children are used.
        """
        attempt, file = self.walker.attempt, self.file
        descriptor = attempt(file, os.open, self.source, OPEN_DIRECTORY, dir_fd=self.parent)
        descriptors.append(descriptor)
        below = f"{file}/" if file else ""
        names = self.walker.names(below, attempt(file, os.listdir, descriptor))
        for name, on_disk in names.items():
            yield os.fsencode(name), Found(self.walker, on_disk, descriptor, below + name)

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
        self._directory = root

    def pack(self, trees: list[Source]) -> None:
        """Packs what the trees contain to the root of the image.

        :param trees: at most one is implied, and that is the last.
        :raises StoreReadError: see its children.
        :raises DuplicateDestinationError: two trees differ in what they bring to one place.
        """
        for tree in trees:
            if isinstance(tree, Found) and tree.facts()[0] != DIRECTORY:
                raise NotADirectoryInRootError(tree.path)
        try:
            self._pack_directory(self._root, _IMPLIED_MODE, trees)
        except RecursionError:
            file = destination_of(self._directory)[1:]
            reason = "directories are nested too deeply"
            raise StorePathUnreadableError(trees[0].path, file, None, reason) from None

    def _pack_directory(self, directory: bytes, mode: int, sources: list[Source]) -> None:
        """:param directory: its name in the tar, with a final slash unless it is empty."""
        self._directory = directory
        descriptors: list[int] = []
        try:
            found: dict[bytes, list[Source]] = {}
            for source in sources:
                for name, child in source.children(descriptors):
                    found.setdefault(name, []).append(child)
            # The root has an entry for the sake of what is in it, and none in some dialects.
            if directory and (found or directory != self._root):
                self._output.append(self._encode(directory, DIRECTORY, mode, 0, b""))
            for name in sorted(found):
                self._pack_together(directory + name, found[name])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _pack_together(self, name: bytes, sources: list[Source]) -> None:
        first, *others = sources
        if isinstance(first, Implied):
            # It is from the last of all trees, so it is alone.
            self._pack_directory(name + b"/", _IMPLIED_MODE, sources)
            return
        if not others:
            first.pack(name)
            return
        facts = first.facts()
        for other in others:
            if not _agree(first, facts, other):
                raise DuplicateDestinationError(destination_of(name), (first.path, other.path))
        if facts[0] == DIRECTORY:
            self._pack_directory(name + b"/", facts[1], sources)
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
