"""Answers that one process leaves for others: what several questions share is worked out once.

A cache has a result for each question, so that nobody's result depends on what else was asked. To start Nix for
each would cost more than most answers do. So one process answers many, and writes each into a directory, from where
the cached process of each question takes it.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress

from nixoci.atomic import output_errors, replace_file
from nixoci.errors import InvalidInputError
from nixoci.json_output import canonical_json
from nixoci.sha256 import sha256_of

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

#: Name of the directory, in that of the tools (`nixoci.store.tools`).
ANSWERS = "answers"

#: What is asked: what an attribute evaluates to, what outputs reference.
EVALUATION, CLOSURE = "evaluation", "closure"

#: A digest of all that an answer depends on.
_KEY = re.compile(r"[0-9a-f]{64}")

#: Bytes of answers that whoever asked for them is told at once.
_MOST_TOLD = 1 << 20

#: Seconds after which an answer is thrown away. It is taken at once, into a cache that keeps it as long as it likes.
_LIFETIME = 24 * 3600

#: A file whose time says when old answers were looked for, and how many seconds that is good for.
_SWEPT = "swept"
_SWEEP_EVERY = 24 * 3600


def answer_key(program: str, kind: str, facts: Sequence[Any]) -> str:
    """Returns the name of an answer.

    :param program: a digest of what works it out.
    :param kind: `EVALUATION` or `CLOSURE`.
    :param facts: all else that the answer depends on, as JSON has it; of a closure its sorted roots.
    """
    return sha256_of(canonical_json("question", [program, kind, facts]))


def answer_file(key: str) -> str:
    """Returns where an answer is in the directory of all: below one for each two digits, so that none gets large."""
    return f"{key[:2]}/{key}"


class Answers:
    """The directory that answers are left in.

    :param directory: is made with the first answer.
    :ivar told: the answers that were left, by key, up to one megabyte of them: whoever had them worked out need not
        read them there.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.told: dict[str, bytes] = {}
        self._left = _MOST_TOLD

    def write(self, key: str, content: bytes) -> None:
        """Writes an answer for whoever asks for `key`; all of it is there, or nothing.

        :raises InvalidInputError: `key` is no digest.
        :raises OutputError: the operating system refused.
        """
        if not _KEY.fullmatch(key):
            raise InvalidInputError("key of an answer", key, "64 hexadecimal digits are expected")
        path = os.path.join(self.directory, answer_file(key))
        with output_errors(self.directory):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with replace_file(path, durable=False, private=True) as file:
            file.write(content)
        self._left -= len(content)
        if self._left >= 0:
            self.told[key] = content


def remove_old_answers(directory: str) -> None:
    """Removes, once a day, what was written long ago, and what is half-written for as long."""
    now = time.time()
    swept = os.path.join(directory, _SWEPT)
    try:
        if os.path.exists(swept) and now - os.stat(swept).st_mtime < _SWEEP_EVERY:
            return
        with open(swept, "wb"):
            os.utime(swept)
        _remove_older(directory, now - _LIFETIME)
    except OSError:
        # There is nothing yet, or nothing can be written.
        pass


def _remove_older(directory: str, oldest: float) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _remove_older(entry.path, oldest)
                continue
            # One that cannot be removed, or is gone by now, keeps none of the others.
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    os.unlink(entry.path)
