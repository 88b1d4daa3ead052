"""Contents of files in the sandbox: one tree that all processes share, each file named by its SHA-256."""

from __future__ import annotations

from typing import Mapping

from pants.engine.fs import EMPTY_DIGEST, Digest

#: The directory of the contents of files, in the sandbox.
CONTENTS_DIRECTORY = "contents"


def contents_inputs(contents: Digest) -> Mapping[str, Digest]:
    """Returns the immutable inputs of a process that reads contents of files."""
    return {} if contents == EMPTY_DIGEST else {CONTENTS_DIRECTORY: contents}


def contents_arguments(contents: Digest, sandbox: str = "") -> tuple[str, ...]:
    """Returns the options of `nixoci` that say where these contents are.

    :param sandbox: for a command that does not start there: its path, with a slash at its end.
    """
    return () if contents == EMPTY_DIGEST else (f"--contents={sandbox}{CONTENTS_DIRECTORY}",)
