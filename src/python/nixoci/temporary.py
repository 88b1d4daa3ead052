"""A temporary directory for a few files, without what `tempfile` imports: that is a tenth of the start of a step."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Mapping

#: Where there can be temporary files, if the environment does not say.
_PLACES = ("/tmp", "/var/tmp")


@contextmanager
def temporary_directory(files: Mapping[str, str]) -> Iterator[str]:
    """Makes a directory that nobody else can use, with files in it, for as long as its body runs.

    :param files: names → texts.
    :returns: its real path: newer versions of Nix follow no links on the way, and macOS has one to its temporary files.
    :raises OSError: it cannot be made.
    """
    directory = _make()
    try:
        for name, text in files.items():
            with open(os.path.join(directory, name), "x", encoding="utf-8") as file:
                file.write(text)
        yield os.path.realpath(directory)
    finally:
        with suppress(FileNotFoundError):
            _remove(directory, files)


def _make() -> str:
    places = [place for place in (os.environ.get("TMPDIR"), *_PLACES) if place and os.path.isdir(place)]
    directory = os.path.join(places[0] if places else os.getcwd(), f"nixoci-{os.urandom(8).hex()}")
    # It follows no link and takes no directory that is there, whoever might guess its name.
    os.mkdir(directory, 0o700)
    return directory


def _remove(directory: str, files: Mapping[str, str]) -> None:
    try:
        for name in files:
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
    except OSError:
        # Others have left something there.
        from shutil import rmtree

        rmtree(directory, ignore_errors=True)
