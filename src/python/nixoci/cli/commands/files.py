"""Files that a user names; `-` is standard input or output."""

from __future__ import annotations

import sys

from nixoci.errors import NixOciError


def read_input(path: str) -> bytes:
    """Returns what a file has.

    :raises NixOciError: the operating system refused.
    """
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NixOciError(f"Cannot read {path}: {error.strerror}.") from None


def write_output(path: str, data: bytes) -> None:
    """Writes a file; what goes to standard output gets a line end.

    :raises NixOciError: the operating system refused.
    """
    if path == "-":
        sys.stdout.buffer.write(data + b"\n")
        return
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise NixOciError(f"Cannot write {path}: {error.strerror}.") from None
