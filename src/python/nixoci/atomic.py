"""Writing files and directories so that they are there whole or not at all.

A symbolic link is followed: what it leads to is replaced, and the link stays. Pipes, terminals and other devices of
characters are written into; block devices, sockets and directories in the place of a file are refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import threading
from contextlib import contextmanager

from nixoci.errors import NixOciError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Iterator, Optional, Union

#: What is being written has such a name beside its destination until it is complete. Only a killed
#: program leaves one behind; the next write in the same directory removes it.
_PARTIAL_NAME = re.compile(r"\.nixoci-partial-[0-9a-f]{16}")

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


class OutputError(NixOciError):
    """An output that cannot be written.

    :param path: the output as the user named it.
    :param reason: what the operating system says, or why nixoci refuses.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path or 'An output'} cannot be written: {reason}.")


@contextmanager
def output_errors(path: str) -> Iterator[None]:
    """Turns an `OSError` of its body into an `OutputError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(path, error.strerror or str(error)) from error


class OutputFile:
    """An unbuffered file whose errors name the output that it is, or is part of, the making of."""

    def __init__(self, descriptor: int, output: str) -> None:
        self._descriptor = descriptor
        self._output = output

    def write(self, data: Union[bytes, memoryview]) -> None:
        """Writes all of `data`.

        :raises OutputError: the operating system refused, for example since the disk is full.
        """
        view = memoryview(data)
        with output_errors(self._output):
            while view:
                view = view[os.write(self._descriptor, view) :]

    @property
    def inode(self) -> int:
        """The number that the file keeps when it takes its place."""
        return os.fstat(self._descriptor).st_ino

    def sync(self) -> None:
        """Waits until the file is on the disk.

        :raises OutputError: it cannot be brought there.
        """
        with output_errors(self._output):
            os.fsync(self._descriptor)


@contextmanager
def replace_file(
    path: str, *, durable: bool = True, private: bool = False
) -> Iterator[OutputFile]:
    """Lets its body write a file that takes the place of `path` when the body ends.

    After an exception in the body, an interrupt or SIGTERM, `path` is what it was before and
    nothing else is left. After SIGKILL or loss of power, `path` is either what it was or complete. Permissions
    stay. What is no regular file (see above) gets what the body writes, at once.

    :param durable: False takes less time, and makes no promise for loss of power.
    :param private: only its owner may read the new file, whoever might read the old one.
    :raises OutputError: the operating system refused, or something else is at `path`.
    """
    with unwinding_signals():
        with output_errors(path):
            target, mode = _resolve(path)
        if mode and not stat.S_ISREG(mode):
            with _opened(path, mode) as descriptor:
                yield OutputFile(descriptor, path)
            return
        with _partial(path, target, 0o600 if private else 0o666) as (partial, descriptor):
            file = OutputFile(descriptor, path)
            if mode and not private:
                with output_errors(path):
                    os.fchmod(descriptor, mode & 0o777)
            yield file
            if durable:
                file.sync()
            with output_errors(path):
                os.replace(partial, target)
                if durable:
                    sync_directory(_parent(target))


def replace_link(path: str, target: str) -> None:
    """Makes `path` a symbolic link to `target`, in the place of a file or another link.

    :raises OutputError: the operating system refused.
    """
    with output_errors(path):
        partial = _new_partial_path(_parent(path))
        os.symlink(target, partial)
        try:
            os.replace(partial, path)
        except BaseException:
            _remove(partial)
            raise


@contextmanager
def replace_directory(path: str) -> Iterator[str]:
    """As `replace_file` for a directory; the body gets the path of an empty one to fill.

    What `path` has is deleted in the end, so the caller must have made sure that it may be. Where
    the operating system can exchange two directories in one step, there is no moment at which
    `path` is absent.

    :raises OutputError: the operating system refused.
    """
    require_name(path)
    path = path.rstrip("/") or "/"
    with unwinding_signals(), _partial(path, path, None) as (partial, _):
        yield partial
        with output_errors(path):
            sync_directory(partial)
            _move_directory(partial, path)
            sync_directory(_parent(path))


def sync_directory(path: str) -> None:
    """Waits until the names in the directory `path` are on the disk.

    :raises OSError: they cannot be brought there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_name(path: str) -> None:
    """:raises OutputError: `path` is empty, which many functions take for the working directory."""
    if not path:
        raise OutputError(path, "its name is empty")


def _resolve(path: str) -> tuple[str, int]:
    """Returns the path that symbolic links lead to, and type and permissions of what is there, 0 for nothing."""
    require_name(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = 0
    target = os.path.realpath(path) if os.path.islink(path) else path
    if mode and not os.path.lexists(target):
        # What a link in /proc leads to may have no name: a pipe, or a file that was deleted.
        return path, stat.S_IFCHR if stat.S_ISREG(mode) else mode
    return target, mode


@contextmanager
def _opened(path: str, mode: int) -> Iterator[int]:
    """Opens what can be written into but not replaced."""
    with output_errors(path):
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            raise OutputError(path, "it is a block device or a socket")
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _parent(path: str) -> str:
    return os.path.dirname(path) or "."


def _new_partial_path(parent: str) -> str:
    return os.path.join(parent, f".nixoci-partial-{os.urandom(8).hex()}")


@contextmanager
def _partial(output: str, path: str, mode: Optional[int]) -> Iterator[tuple[str, int]]:
    """Makes a file or directory beside `path`, locks it, and removes it in the end if it is there.

    The lock tells the writes that come later that somebody is still at work on it.

    :param output: for errors.
    :param mode: of a file; None for a directory.
    """
    with output_errors(output):
        _remove_abandoned(_parent(path))
    partial = ""
    descriptor = -1
    try:
        with output_errors(output):
            while descriptor < 0:
                # A new name each time: who took the last one for abandoned may still be removing it.
                partial = _new_partial_path(_parent(path))
                descriptor = _create_locked(partial, mode)
        yield partial, descriptor
    finally:
        _remove(partial)
        if descriptor >= 0:
            os.close(descriptor)


def _create_locked(partial: str, mode: Optional[int]) -> int:
    """Makes a file or directory (for which `mode` is None), opens and locks it.

    :returns: the descriptor; -1 when another write took it for abandoned before it was locked.
    """
    if mode is None:
        os.mkdir(partial)
        try:
            descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(partial, flags, mode)
    _lock(descriptor, wait=True)
    if os.path.lexists(partial):
        return descriptor
    os.close(descriptor)
    return -1


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Whether the file is now locked; there are file systems that have no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _remove_abandoned(parent: str) -> None:
    """Removes what killed programs left in the directory `parent`."""
    for name in os.listdir(parent):
        if not _PARTIAL_NAME.fullmatch(name):
            continue
        path = os.path.join(parent, name)
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags)
        except OSError:
            # It is gone by now, or it belongs to somebody else.
            continue
        try:
            if _lock(descriptor, wait=False):
                _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: str) -> None:
    """Removes what is at `path`, if it can be: what stays is removed by a later write."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError:
        from shutil import rmtree

        rmtree(path, ignore_errors=True)


def _move_directory(partial: str, path: str) -> None:
    """Moves `partial` to `path`; what was there is at `partial` afterwards, or is gone."""
    try:
        os.rename(partial, path)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    if _exchange(partial, path):
        return
    aside = _new_partial_path(_parent(path))
    try:
        os.rename(path, aside)
        os.rename(partial, path)
    except BaseException:
        if not os.path.lexists(path):
            os.rename(aside, path)
        raise
    _remove(aside)


def _exchange(first: str, second: str) -> bool:
    """Exchanges two names in one step (renameat2(2)). Python has no function of its own for it.

    :returns: whether it was done; not every system, C library and file system can.
    """
    try:
        import ctypes

        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, OSError, AttributeError):
        return False
    names = os.fsencode(first), os.fsencode(second)
    status: int = renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    return status == 0


@contextmanager
def unwinding_signals() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise `SystemExit`, so that what is half-written is removed.

    Left alone are signals that the program handles or ignores itself, and other threads than the
    main one, since Python does not let them handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()
    handled = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]

    def stop(number: int, _: Optional[FrameType]) -> None:
        status = 128 + number
        if os.getpid() != owner:
            # A forked child must not remove what its parent is writing.
            os._exit(status)
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(status)

    try:
        for number in handled:
            signal.signal(number, stop)
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
