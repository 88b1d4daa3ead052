"""Images of one command whose tags are written together: who of them is pushed, in files that pushes read.

Pants runs the rules of all images to their end before the first push starts, and then one push after the other. So a
rule that has found that its image is pushed enrols it, and each push finds all of them.
"""

from __future__ import annotations

import contextlib
import os
import time
from hashlib import sha256

from nixoci.registry.batch.members import WAITING, Member, remove_batch, write_member
from pants.engine.addresses import Address

#: Seconds after which what a command left that was killed is removed. A push may take hours.
_OLD = 2 * 24 * 3600


def _file(workdir: str, session: int, address: Address) -> str:
    name = sha256(str(address).encode()).hexdigest()[:32]
    return os.path.join(_batches(workdir), f"{session:016x}", f"{name}.json")


def _batches(workdir: str) -> str:
    return os.path.join(workdir, "nix", "publish")


def enrol(workdir: str, session: int, address: Address) -> str:
    """Notes that an image is pushed in this session; returns the file that the push gets.

    :param workdir: that of Pants.
    :raises OutputError: it cannot be written there.
    """
    batches = _batches(workdir)
    with contextlib.suppress(OSError):
        for entry in os.scandir(batches):
            if entry.stat().st_mtime < time.time() - _OLD:
                remove_batch(entry.path)
    file = _file(workdir, session, address)
    write_member(file, Member(str(address), WAITING))
    return file


def withdraw(workdir: str, session: int, address: Address) -> None:
    """Notes that an image is not pushed, whatever an earlier run of the rule has found."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_file(workdir, session, address))
