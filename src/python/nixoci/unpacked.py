"""The program as a directory: what is in the zip file, unpacked once, so that Python keeps its modules compiled.

From a zip file each process compiles all modules that it imports. Beside the files of a directory Python writes what
it has compiled, for each of its versions.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zipfile

#: Seconds after which the program of another version of the plugin is removed: no process runs so long.
_LIFETIME = 14 * 24 * 3600


def unpack(archive: str, directory: str) -> bool:
    """Unpacks the zip file that this program is; all of it is there, or nothing.

    :param directory: named after what is in the archive. Others beside it that are old are removed.
    :returns: whether it is there now. Where it cannot be written, the program runs from the zip file.
    """
    parent = os.path.dirname(directory)
    try:
        os.makedirs(parent, exist_ok=True)
        partial = tempfile.mkdtemp(dir=parent)
    except OSError:
        return False
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(partial)
        _remove_old(parent)
        os.rename(partial, directory)
    except (OSError, zipfile.BadZipFile):
        # It is no error if another process was faster.
        shutil.rmtree(partial, ignore_errors=True)
    return os.path.exists(directory)


def _remove_old(parent: str) -> None:
    oldest = time.time() - _LIFETIME
    with os.scandir(parent) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_mtime < oldest:
                shutil.rmtree(entry.path, ignore_errors=True)
