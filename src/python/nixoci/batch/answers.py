"""Answers that one process leaves for others: what several questions share is worked out once.

A cache has a result for each question, so that nobody's result depends on what else was asked. To start Nix for
each would cost more than most answers do. So one process answers many, and writes each into a directory, from where
the cached process of each question takes it.
"""

from __future__ import annotations

import os
import re
import time

from nixoci.atomic import output_errors, replace_file
from nixoci.errors import InvalidInputError
from nixoci.json_output import canonical_json
from nixoci.sha256 import sha256

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

#: Seconds after which an answer is thrown away. It is taken at once, into a cache that keeps it as long as it likes.
_LIFETIME = 7 * 24 * 3600


def answer_key(program: str, kind: str, facts: Sequence[Any]) -> str:
    """Returns the name of an answer.

    :param program: a digest of what works it out.
    :param kind: `EVALUATION` or `CLOSURE`.
    :param facts: all else that the answer depends on, as JSON has it; of a closure its sorted roots.
    """
    return sha256(canonical_json("question", [program, kind, facts])).hexdigest()


def write_answer(directory: str, key: str, content: bytes) -> None:
    """Writes an answer for whoever asks for `key`; all of it is there, or nothing.

    :raises InvalidInputError: `key` is no digest.
    :raises OutputError: the operating system refused.
    """
    if not _KEY.fullmatch(key):
        raise InvalidInputError("key of an answer", key, "64 hexadecimal digits are expected")
    with output_errors(directory):
        os.makedirs(directory, exist_ok=True)
    with replace_file(os.path.join(directory, key), durable=False, private=True) as file:
        file.write(content)


def remove_old_answers(directory: str) -> None:
    """Removes what was written long ago, and what is half-written for as long."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_mtime < time.time() - _LIFETIME:
                    os.unlink(entry.path)
    except OSError:
        # Others do so at the same time.
        pass
