"""Packs what a store path contains: the hot loop of the project.

Of the time that an entry of a tree of small files takes, two thirds are its four system calls
(open, fstat, readv, close). What keeps the rest small: files are read straight into the stream's
buffer, names are opened relative to a directory's descriptor, headers come from parts that are
constant in a directory, and an ordinary file costs no call of a Python function. Directories are packed by
generators that yield those of the directories in them, so that no tree is too deep.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from operator import attrgetter
from zlib import adler32

from nixoci.descent import OPEN_FILE, Descent, run_nested
from nixoci.recipe.reserved import WHITEOUT
from nixoci.store.case_hack import CASE_HACK, without_case_hack
from nixoci.store.path import StorePath
from nixoci.tar.errors import (
    FileChangedError,
    StorePathMissingError,
    StorePathUnreadableError,
    UnsupportedFileTypeError,
)
from nixoci.tar.header import (
    BLOCK_SIZE,
    DIRECTORY,
    MTIME,
    NAME_SIZE,
    REGULAR,
    SYMLINK,
    prefixed_header_parts,
    whole_header_parts,
)
from nixoci.tar.names import names_in_layer
from nixoci.tar.output import BUFFER_SIZE, Output, SizeChangedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Optional

    from nixoci.descent import Nested
    from nixoci.store.case_hack import HasCaseHack
    from nixoci.tar.excludes import Excluded

#: Path, kind, mode, size, link target → what precedes the contents; see `tar_header.encode_header`.
EncodeHeader = Callable[[bytes, bytes, int, int, bytes], bytes]

_PADDING = [bytes(count) for count in range(BLOCK_SIZE)]
_KINDS = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
_NUL = "\0"
#: The end of the size field, and the time.
_TIME = _NUL + MTIME.decode()
_name_of = attrgetter("name")


class Walker:
    """Packs one store path.

    :param encode: makes the headers.
    :param fast_fields: of `tar_header.owner_fields`, if headers of ordinary files may be put
        together without `encode`, which would give the same bytes; None: all go through `encode`.
    :param file_mode: `st_mode` of a regular file → its permission bits.
    :param directory_mode: permission bits of all directories, or None to keep those of the disk.
    :param excluded: whether something below the store path stays out; None if all goes in.
    :param has_case_hack: see `nixoci.store.case_hack`.
    """

    def __init__(
        self,
        output: Output,
        path: StorePath,
        encode: EncodeHeader,
        fast_fields: Optional[tuple[bytes, bytes]] = None,
        *,
        file_mode: Callable[[int], int],
        directory_mode: Optional[int] = None,
        excluded: Optional[Excluded] = None,
        has_case_hack: HasCaseHack = without_case_hack,
    ) -> None:
        self.path = path
        self.file_mode = file_mode
        self.directory_mode = directory_mode
        self._excluded = excluded
        self._has_case_hack = has_case_hack
        self._output = output
        self._encode = encode
        self._fast_fields = fast_fields
        # What is being read, for errors: a directory below the store path, and a name in it.
        self._below = ""
        self._name = ""

    def pack(
        self, name: bytes, source: str, parent: Optional[int] = None, file: str = ""
    ) -> None:
        """Packs the store path, or something below it, and all that it contains.

        :param name: its name in the tar.
        :param source: where to read it, relative to the directory `parent`.
        :param file: its path below the store path; empty for that itself.
        :raises StoreReadError: see its children.
        """
        mode = self.status(source, parent, file).st_mode
        self._below = ""
        self._name = file
        try:
            if stat.S_ISDIR(mode):
                below = f"{file}/" if file else ""
                with Descent() as descent:
                    opened = descent.enter(source, parent)
                    run_nested(self._pack_directory(descent, opened, name + b"/", below))
            elif stat.S_ISREG(mode):
                self._pack_file(source, parent, name)
            else:
                self._pack_other(mode, source, parent, name)
        except SizeChangedError as error:
            raise FileChangedError(self.path, self._below + self._name, error.expected) from None
        except OSError as error:
            if self._output.flush_failed:
                raise
            raise _unreadable(self.path, self._below + self._name, error) from error

    def status(self, source: str, parent: Optional[int], file: str) -> os.stat_result:
        """Returns the metadata of what `pack` would pack.

        :raises StorePathMissingError: it is the store path, which is not there.
        :raises StorePathUnreadableError: any other reason.
        """
        try:
            return os.lstat(source, dir_fd=parent)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not file:
                raise StorePathMissingError(self.path, source) from None
            raise _unreadable(self.path, file, error) from error

    def attempt(
        self, file: str, operation: Callable[..., Any], *arguments: object, **keywords: object
    ) -> Any:
        """Returns `operation(*arguments, **keywords)`, which reads `file` of the store path.

        :raises StorePathUnreadableError: in place of any `OSError`.
        """
        try:
            return operation(*arguments, **keywords)
        except OSError as error:
            raise _unreadable(self.path, file, error) from error

    def names(self, below: str, names: Iterable[str]) -> dict[str, str]:
        """Returns the names on the disk of what goes into the layer, by the names that it has there.

        :param below: and `names`, as of `names_in_layer`, which this is for the store path.
        """
        return names_in_layer(self.path, below, names, self._excluded, self._has_case_hack)

    def link(self, mode: int, source: str, parent: Optional[int], file: str) -> bytes:
        """Returns the target of a symbolic link; the parameters are those of `pack`.

        :param mode: of its metadata.
        :raises UnsupportedFileTypeError: no link, nor, by the caller's word, file or directory.
        """
        if not stat.S_ISLNK(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "file of unknown kind")
            raise UnsupportedFileTypeError(self.path, file, kind)
        target: str = self.attempt(file, os.readlink, source, dir_fd=parent)
        return os.fsencode(target)

    def _pack_directory(
        self, descent: Descent, descriptor: int, directory: bytes, below: str
    ) -> Nested:
        """Packs the directory that was entered, and leaves it; yields what packs a directory in it.

        :param descriptor: of the directory.
        :param directory: its name in the tar, with a final slash.
        :param below: its path below the store path, with a final slash; empty for that itself.
        """
        self._below = below
        self._name = ""
        mode = self.directory_mode
        if mode is None:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        self._output.append(self._encode(directory, DIRECTORY, mode, 0, b""))
        with os.scandir(descriptor) as scan:
            entries = list(scan)
        # One search in all names is much faster than one in each.
        text = "".join(map(_name_of, entries))
        excluded = self._excluded
        if WHITEOUT in text or CASE_HACK in text:
            on_disk = {entry.name: entry for entry in entries}
            found = self.names(below, on_disk)
            named = {name: on_disk[found[name]] for name in found}
            yield from self._pack_each(named, descent, directory, below)
        else:
            if excluded is not None:
                entries = [entry for entry in entries if not excluded(below + entry.name)]
            if self._fast_fields is not None and directory.isascii() and text.isascii():
                # For ASCII text the order of characters is that of bytes.
                entries.sort(key=_name_of)
                yield from self._pack_fast(entries, descent, directory, below, self._fast_fields)
            else:
                named = {entry.name: entry for entry in entries}
                yield from self._pack_each(named, descent, directory, below)
        descent.leave()

    def _pack_each(
        self,
        entries: dict[str, os.DirEntry[str]],
        descent: Descent,
        directory: bytes,
        below: str,
    ) -> Nested:
        """Packs the entries of a directory, by the names that they have in the layer."""
        unasked: Iterable[os.DirEntry[str]] = entries.values()
        for name in sorted(entries, key=os.fsencode):
            self._name = name
            entry = entries[name]
            place = directory + os.fsencode(name)
            if entry.is_file(follow_symlinks=False):
                self._pack_file(entry.name, descent.descriptor, place)
            elif entry.is_dir(follow_symlinks=False):
                unasked = _know_kinds(unasked)
                opened = descent.enter(entry.name)
                yield self._pack_directory(descent, opened, place + b"/", f"{below}{name}/")
                self._below = below
            else:
                self._pack_entry(entry, descent.descriptor, place)

    def _pack_fast(
        self,
        entries: list[os.DirEntry[str]],
        descent: Descent,
        directory: bytes,
        below: str,
        fields: tuple[bytes, bytes],
    ) -> Nested:
        """Packs the entries of a directory, all ASCII; the one method that is written for speed."""
        output = self._output
        descriptor = descent.descriptor
        # What most directories do not need is worked out when it is.
        whole = prefixed = None
        whole_room = NAME_SIZE - len(directory)
        owner = fields[0].decode()
        modes: dict[int, str] = {}
        open_file, fstat, readv, close = os.open, os.fstat, os.readv, os.close
        unasked: Iterable[os.DirEntry[str]] = entries
        for entry in entries:
            self._name = name = entry.name
            if not entry.is_file(follow_symlinks=False):
                place = directory + name.encode()
                if entry.is_dir(follow_symlinks=False):
                    unasked = _know_kinds(unasked)
                    opened = descent.enter(name)
                    yield self._pack_directory(descent, opened, place + b"/", f"{below}{name}/")
                    self._below = below
                    descriptor = descent.descriptor
                else:
                    self._pack_entry(entry, descriptor, place)
                continue
            if len(name) <= whole_room:
                if whole is None:
                    whole = whole_header_parts(directory, fields)
                start, room, tail, tail_sum = whole
            else:
                if prefixed is None:
                    prefixed = prefixed_header_parts(directory, fields)
                start, room, tail, tail_sum = prefixed
                if len(name) > room:
                    self._pack_file(name, descriptor, directory + name.encode())
                    continue
            file = open_file(name, OPEN_FILE, dir_fd=descriptor)
            try:
                status = fstat(file)
                size = status.st_size
                position = output.position
                begin = position + BLOCK_SIZE
                end = begin + size
                if end >= BUFFER_SIZE:
                    self._pack_open_file(file, status, directory + name.encode())
                    continue
                mode = modes.get(status.st_mode)
                if mode is None:
                    mode = modes[status.st_mode] = f"{self._mode(status):07o}\0{owner}"
                head = f"{start}{name.ljust(room, _NUL)}{mode}{size:011o}{_TIME}".encode()
                checksum = (adler32(head) & 0xFFFF) + tail_sum
                view = output.view
                view[position:begin] = b"%b%06o\0 %b" % (head, checksum, tail)
                # One byte more than expected is asked for: it would show that the file grew.
                if size and readv(file, [view[begin : end + 1]]) != size:
                    raise SizeChangedError(size)
                padding = -size & 511
                view[end : end + padding] = _PADDING[padding]
                output.position = end + padding
            finally:
                close(file)

    def _pack_entry(
        self, entry: os.DirEntry[str], descriptor: Optional[int], place: bytes
    ) -> None:
        """Packs what is neither a regular file nor a directory.

        :param place: its name in the tar.
        """
        if entry.is_symlink():
            self._append_link(place, os.fsencode(os.readlink(entry.name, dir_fd=descriptor)))
        else:
            mode = os.lstat(entry.name, dir_fd=descriptor).st_mode
            self._pack_other(mode, entry.name, descriptor, place)

    def _pack_file(self, source: str, parent: Optional[int], name: bytes) -> None:
        file = os.open(source, OPEN_FILE, dir_fd=parent)
        try:
            self._pack_open_file(file, os.fstat(file), name)
        finally:
            os.close(file)

    def _pack_open_file(self, file: int, status: os.stat_result, name: bytes) -> None:
        mode = self._mode(status)
        header = self._encode(name, REGULAR, mode, status.st_size, b"")
        self._output.append(header)
        self._output.copy(file, status.st_size)

    def _mode(self, status: os.stat_result) -> int:
        """The permission bits of an open file.

        :raises OSError: it is no regular file, so something took its place since the directory was
            read.
        """
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ESTALE, "it was replaced while it was read")
        return self.file_mode(status.st_mode)

    def _pack_other(self, mode: int, source: str, parent: Optional[int], name: bytes) -> None:
        self._append_link(name, self.link(mode, source, parent, self._below + self._name))

    def _append_link(self, name: bytes, target: bytes) -> None:
        self._output.append(self._encode(name, SYMLINK, 0o777, 0, target))


def _unreadable(path: StorePath, file: str, error: OSError) -> StorePathUnreadableError:
    return StorePathUnreadableError(path, file, error.errno, error.strerror or str(error))


def _know_kinds(unasked: Iterable[os.DirEntry[str]]) -> tuple[()]:
    """Has entries know their kinds before their directory may be closed; returns those that do not.

    Where the file system does not tell kinds with the names, an entry asks once, by the descriptor that its
    directory had when it was read.
    """
    for entry in unasked:
        entry.is_file(follow_symlinks=False)
    return ()
