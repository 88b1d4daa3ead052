"""Files that a user names; `-` is standard input or output."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from nixoci.atomic import OutputError, OutputFile, output_errors, replace_file, require_name
from nixoci.errors import NixOciError
from nixoci.json_input import read_all

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator, Optional

_STANDARD_OUTPUT = "standard output"


class UntoldResultError(NixOciError):
    """A command has done what it was asked to, and cannot say so.

    :param deed: a sentence without its full stop.
    """

    def __init__(self, deed: str, why: OutputError) -> None:
        self.deed = deed
        super().__init__(f"{deed}, but {why}")


@contextmanager
def once_done(deed: str) -> Iterator[None]:
    """Turns an `OutputError` of its body into an `UntoldResultError`."""
    try:
        yield
    except OutputError as error:
        raise UntoldResultError(deed, error) from None


def read_input(path: str) -> bytes:
    """Returns what a file has.

    :raises NixOciError: the operating system refused, or it has too much.
    """
    name = "standard input" if path == "-" else path
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            return read_all(file, name)
    except OSError as error:
        raise NixOciError(f"Cannot read {name}: {error.strerror}.") from None


def write_output(path: str, data: bytes) -> None:
    """Writes a file; what goes to standard output gets a line end.

    :raises OutputError: the operating system refused.
    """
    with open_output(path, durable=False) as write:
        write(data)


@contextmanager
def open_output(path: str, *, durable: bool = True) -> Iterator[Callable[[bytes], object]]:
    """Lets its body write to an output that can be written to, as far as that shows beforehand.

    :param durable: as for `replace_file`.
    :raises OutputError: the operating system refused.
    """
    if path == "-":
        require_standard_output()
        yield lambda data: print_bytes(data + b"\n")
    else:
        with replace_file(path, durable=durable) as file:
            yield file.write


@contextmanager
def shown_in(path: Optional[str]) -> Iterator[Optional[Callable[..., object]]]:
    """Lets its body show a line in a file, which is removed in the end; None without a file.

    What else it shows is not written.

    A line that cannot be written is no error: nothing depends on it.
    """
    if path is None:
        yield None
        return
    place = path

    def show(line: str, _: Optional[str] = None) -> None:
        with suppress(OutputError), replace_file(place, durable=False) as file:
            file.write(line.encode(errors="replace"))

    try:
        yield show
    finally:
        with suppress(OSError):
            os.unlink(place)


def output_path(path: str) -> str:
    """Returns the absolute path of an output.

    :raises OutputError: `path` is empty.
    """
    require_name(path)
    return os.path.abspath(path)


def print_line(text: str) -> None:
    """Writes a line to standard output, at once.

    :raises OutputError: the operating system refused.
    """
    print_bytes(text.encode(errors="backslashreplace") + b"\n")


def print_error(text: str) -> None:
    """Writes a line to standard error, if that is possible: else, the exit status has to do."""
    try:
        OutputFile(2, "standard error").write(text.encode(errors="backslashreplace") + b"\n")
    except OutputError:
        return


def print_bytes(data: bytes) -> None:
    """Writes to standard output, at once.

    :raises OutputError: the operating system refused.
    """
    # Without a buffer, where what cannot be written would stay, to fail again when the program ends.
    OutputFile(1, _STANDARD_OUTPUT).write(data)


def require_standard_output() -> None:
    """:raises OutputError: standard output is closed. That it is full shows when it is written to."""
    with output_errors(_STANDARD_OUTPUT):
        os.write(1, b"")
