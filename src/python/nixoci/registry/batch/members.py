"""The members of a batch, each a file in its directory: which push takes part, and how far it is.

Whoever starts the pushes enrols all of them first. They run one after the other, in any order, so the last one is
that which finds nobody waiting. A push counts as failed from its start until it has pushed its image: so does one that
was killed.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import Sequence

from nixoci.atomic import output_errors, replace_file
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json

WAITING = "waiting"
FAILED = "failed"
PUSHED = "pushed"

_ENDING = ".json"


@dataclass(frozen=True)
class Member:
    """A push of a batch.

    :param label: what people know the image by.
    :param state: `waiting`, `failed` or `pushed`.
    :param digest: of the manifest.
    :param manifest: as text.
    :param tags: those that do not name the image yet, as `repository:tag`.
    """

    label: str
    state: str
    digest: str = ""
    manifest: str = ""
    media_type: str = ""
    tags: tuple[str, ...] = ()


def write_member(path: str, member: Member) -> None:
    """Writes the file of a push; its directory is made.

    :param path: ends in `.json`.
    :raises OutputError: it cannot be written.
    """
    with output_errors(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with replace_file(path) as file:
        file.write(canonical_json("member of a batch", asdict(member)))


def read_members(directory: str) -> list[Member]:
    """Reads the files of a batch, by their names.

    :raises InvalidInputError: one is none. An `OSError` passes through.
    """
    members = []
    for name in sorted(os.listdir(directory)):
        if name.endswith(_ENDING):
            with open(os.path.join(directory, name), "rb") as file:
                document = parse_object("member of a batch", file.read())
            members.append(
                Member(
                    get_field(document, "label", str),
                    get_field(document, "state", str),
                    get_field(document, "digest", str),
                    get_field(document, "manifest", str),
                    get_field(document, "media_type", str),
                    tuple(get_list(document, "tags", str)),
                )
            )
    return members


def remove_batch(directory: str) -> None:
    """Removes the files of a batch, as far as they can be."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if name.endswith(_ENDING):
                os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


def labels(members: Sequence[Member], state: str) -> list[str]:
    """Returns what the members in a state are called."""
    return [member.label for member in members if member.state == state]
