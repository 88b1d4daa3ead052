"""Archives and layouts that are as they were written: what is there already is not written again.

What was written is remembered in a file elsewhere, the record: of each file and directory of the output its
inode, size and times. Whatever touches one of them changes its ctime, which no program can set.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Any, Optional

from nixoci.atomic import OutputError, output_errors, replace_file
from nixoci.errors import InvalidInputError
from nixoci.json_input import parse_object
from nixoci.json_output import canonical_json

#: Seconds after which a file that is changed has other times than before: the clock that the kernel takes them
#: from has at least a hundred ticks a second.
_TICK = 0.02

_SECOND = 1_000_000_000


def note_written(record: str, output: str, key: str, inode: int) -> None:
    """Remembers that `output` was written just now.

    Without a place to write to nothing is remembered, nor where a file system has times of whole seconds.

    :param record: the file that remembers it.
    :param key: says what the output is.
    :param inode: of what was written. If another program has put something else there since, that is nobody's.
    """
    state = _state(output)
    time.sleep(_TICK)
    if not state or state != _state(output) or state[0][1] != inode:
        return
    if all(changed % _SECOND == 0 for *_, changed in state):
        return
    try:
        with output_errors(record):
            os.makedirs(os.path.dirname(record), exist_ok=True)
        with replace_file(record) as file:
            file.write(canonical_json("record of an output", {"key": key, "entries": state}))
    except OutputError:
        return


def is_written(record: str, output: str, key: str) -> bool:
    """Whether `output` is what `note_written` remembers under this key, and nobody has touched it since."""
    try:
        with open(record, "rb") as file:
            known = parse_object("record of an output", file.read())
    except (OSError, InvalidInputError):
        return False
    state = _state(output)
    return bool(state) and known == {"key": key, "entries": state}


def _state(output: str) -> Optional[list[list[Any]]]:
    """Returns name, inode, size, mtime and ctime of all that is at or below a path; None if that fails."""
    state: list[list[Any]] = []
    paths = [output]
    try:
        for path in paths:
            status = os.lstat(path)
            name = path[len(output) :]
            times = [status.st_mtime_ns, status.st_ctime_ns]
            state.append([name, status.st_ino, status.st_size, *times])
            if stat.S_ISDIR(status.st_mode):
                paths.extend(sorted(os.path.join(path, entry) for entry in os.listdir(path)))
    except OSError:
        return None
    return state
